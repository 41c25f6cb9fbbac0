# bash completion for ferry(1)                             -*- shell-script -*-

_ferry_remotes() {
    local config=${FERRY_CONFIG:-$HOME/.config/ferry/remotes}
    [[ -r $config ]] && awk -F '=' '/^[[:alnum:]_-]+[[:space:]]*=/ { gsub(/[[:space:]]/, "", $1); print $1 }' "$config"
}

_ferry() {
    local cur prev words cword split
    _init_completion -s || return

    local commands='clone fetch push status verify prune help'
    local command='' i
    for ((i = 1; i < cword; i++)); do
        if [[ ${words[i]} != -* ]]; then
            command=${words[i]}
            break
        fi
    done

    case $prev in
        --remote | -r)
            COMPREPLY=($(compgen -W "$(_ferry_remotes)" -- "$cur"))
            return
            ;;
        --config | -c)
            _filedir '@(conf|toml)'
            return
            ;;
        --compress)
            COMPREPLY=($(compgen -W 'none gzip zstd' -- "$cur"))
            return
            ;;
        --jobs | -j)
            COMPREPLY=($(compgen -W "{1..$(_ncpus)}" -- "$cur"))
            return
            ;;
    esac
    $split && return

    if [[ $cur == -* ]]; then
        local options='--help --version --verbose --config --remote'
        case $command in
            push | fetch) options+=' --jobs --compress --dry-run --force' ;;
            verify) options+=' --quick --repair' ;;
            prune) options+=' --keep --older-than' ;;
        esac
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
        [[ ${COMPREPLY-} == *= ]] && compopt -o nospace
        return
    fi

    if [[ -z $command ]]; then
        COMPREPLY=($(compgen -W "$commands" -- "$cur"))
    elif [[ $command == @(push|fetch) ]]; then
        COMPREPLY=($(compgen -W "$(_ferry_remotes)" -- "$cur"))
    else
        _filedir
    fi
} && complete -F _ferry ferry

# ex: filetype=sh
