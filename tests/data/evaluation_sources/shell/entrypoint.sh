#!/bin/sh
set -eu

: "${DATABASE_HOST:=db}" "${DATABASE_PORT:=5432}" "${WORKERS:=4}" "${LOG_LEVEL:=info}"

# A variable FOO may also come from the file named by FOO_FILE (docker secrets).
from_file() {
    eval "file=\${$1_FILE:-}"
    [ -n "$file" ] || return 0
    [ -r "$file" ] || { echo "entrypoint: $1_FILE: $file is not readable" >&2; exit 1; }
    export "$1=$(cat "$file")"
    unset "$1_FILE"
}
from_file DATABASE_PASSWORD
from_file SECRET_KEY

tries=60
until nc -z "$DATABASE_HOST" "$DATABASE_PORT" 2>/dev/null; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "entrypoint: no database on $DATABASE_HOST:$DATABASE_PORT" >&2; exit 1; }
    sleep 1
done

case "${1:-serve}" in
    serve)
        python manage.py migrate --noinput
        exec gunicorn shop.wsgi --bind 0.0.0.0:8000 --workers "$WORKERS" --log-level "$LOG_LEVEL" --access-logfile -
        ;;
    worker) shift; exec celery -A shop worker -l "$LOG_LEVEL" "$@" ;;
    *) exec "$@" ;;
esac
