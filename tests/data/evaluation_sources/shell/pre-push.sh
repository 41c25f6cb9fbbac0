#!/bin/bash
# Refuses to push commits marked as unfinished, or to a protected branch.
protected='^refs/heads/(main|release/.*)$'
zero=0000000000000000000000000000000000000000

while read -r local_ref local_sha remote_ref remote_sha; do
    [ "$local_sha" = "$zero" ] && continue          # a deletion
    if [[ $remote_ref =~ $protected && -z $ALLOW_PROTECTED ]]; then
        echo "pre-push: $remote_ref is protected; open a merge request" >&2
        exit 1
    fi
    range=$remote_sha..$local_sha
    [ "$remote_sha" = "$zero" ] && range=$local_sha
    bad=$(git rev-list -n 1 --grep '^\(WIP\|fixup!\|squash!\)' "$range")
    if [ -n "$bad" ]; then
        echo "pre-push: $(git log -1 --format='%h %s' "$bad") is not finished" >&2
        exit 1
    fi
done
exit 0
