# ~/.bashrc: interactive shells only
case $- in *i*) ;; *) return ;; esac

HISTCONTROL=ignoreboth:erasedups
HISTSIZE=50000
HISTFILESIZE=200000
HISTTIMEFORMAT='%F %T  '
shopt -s histappend checkwinsize globstar autocd 2>/dev/null

path_prepend() { case ":$PATH:" in *":$1:"*) ;; *) [ -d "$1" ] && PATH="$1:$PATH" ;; esac; }
path_prepend "$HOME/bin"
path_prepend "$HOME/.local/bin"
path_prepend "/usr/local/go/bin"
export PATH EDITOR=vim PAGER=less LESS='-FRX' LANG=en_US.UTF-8

__branch() {
    local name
    name=$(git symbolic-ref --short HEAD 2>/dev/null || git rev-parse --short HEAD 2>/dev/null) || return
    git diff --quiet --ignore-submodules 2>/dev/null || name+='*'
    printf ' (%s)' "$name"
}
__prompt() {
    local status=$?
    PS1='\[\e[1;32m\]\u@\h\[\e[0m\]:\[\e[1;34m\]\w\[\e[33m\]$(__branch)\[\e[0m\]'
    ((status)) && PS1+=" \[\e[31m\]$status\[\e[0m\]"
    PS1+='\$ '
    history -a
}
PROMPT_COMMAND=__prompt

alias ls='ls --color=auto' ll='ls -lh' la='ls -lAh' grep='grep --color=auto'
alias ..='cd ..' ...='cd ../..' gs='git status -sb' gd='git diff' gl='git log --oneline --graph -20'
alias k=kubectl kx='kubectl config use-context' dc='docker compose'

mkcd() { mkdir -p -- "$1" && cd -- "$1"; }
extract() {
    case $1 in
        *.tar.*|*.tgz|*.tbz2) tar xf "$1" ;;
        *.zip|*.jar) unzip -q "$1" ;;
        *.gz) gunzip -k "$1" ;;
        *.7z) 7z x "$1" ;;
        *) echo "extract: don't know what to do with '$1'" >&2; return 1 ;;
    esac
}
[ -f /usr/share/bash-completion/bash_completion ] && . /usr/share/bash-completion/bash_completion
[ -f ~/.bashrc.local ] && . ~/.bashrc.local
