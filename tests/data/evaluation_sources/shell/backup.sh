#!/usr/bin/env bash
# Incremental backup with hard links: one folder a day, unchanged files shared.
#
#   backup.sh -s SOURCE -d DESTINATION [-k DAYS] [-x PATTERN]... [-n] [-v]

set -euo pipefail
IFS=$'\n\t'

readonly PROGRAM=${0##*/}
keep=30
dry_run=0
verbose=0
excludes=()

usage() { sed -n '2,4s/^# \{0,1\}//p' "$0"; }
log() { printf '%(%F %T)T %s\n' -1 "$*" >&2; }
die() { log "error: $*"; exit 1; }

while getopts ':s:d:k:x:nvh' option; do
    case $option in
        s) source=${OPTARG%/} ;;
        d) destination=${OPTARG%/} ;;
        k) [[ $OPTARG =~ ^[0-9]+$ ]] || die "-k wants a number of days, got '$OPTARG'"
           keep=$OPTARG ;;
        x) excludes+=("--exclude=$OPTARG") ;;
        n) dry_run=1 ;;
        v) verbose=1 ;;
        h) usage; exit 0 ;;
        :) die "-$OPTARG needs a value" ;;
        *) usage >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))

[[ -n ${source:-} && -n ${destination:-} ]] || { usage >&2; exit 2; }
[[ -d $source ]] || die "$source is not a folder"
command -v rsync >/dev/null || die 'rsync is not installed'

mkdir -p -- "$destination"
exec 9>"$destination/.lock"
flock -n 9 || die 'another backup is running'

today=$(date +%F)
target=$destination/$today
partial=$destination/.partial
latest=$destination/latest

cleanup() {
    local status=$?
    if ((status != 0)) && [[ -d $partial ]]; then
        log "stopped with status $status; $partial is kept and will be continued"
    fi
}
trap cleanup EXIT
trap 'die interrupted' INT TERM

arguments=(--archive --hard-links --acls --xattrs --delete --numeric-ids "${excludes[@]}")
((verbose)) && arguments+=(--itemize-changes)
((dry_run)) && arguments+=(--dry-run)
[[ -e $latest ]] && arguments+=(--link-dest="$(readlink -f -- "$latest")")

log "copying $source to $target"
status=0
rsync "${arguments[@]}" -- "$source/" "$partial/" || status=$?
case $status in
    0) ;;
    23 | 24) log 'some files vanished or could not be read' ;;
    *) exit "$status" ;;
esac

if ! ((dry_run)); then
    rm -rf -- "$target"
    mv -T -- "$partial" "$target"
    ln -sfnT -- "$today" "$latest"
    find "$destination" -mindepth 1 -maxdepth 1 -type d -name '????-??-??' -mtime "+$keep" -print0 |
        while IFS= read -r -d '' old; do
            log "removing $old"
            rm -rf -- "$old"
        done
fi
log "$PROGRAM: done, $(du -sh -- "$destination" | cut -f1) in all"
