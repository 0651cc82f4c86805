#!/bin/sh
# Make sure that the commands of some Debian packages are here: install them where that is allowed, else say how.
# usage: debian-packages.sh [--required] COMMAND...   (the package has the command's name)
required=no
[ "$1" = "--required" ] && { required=yes; shift; }
missing=""
for command in "$@"; do
    command -v "$command" >/dev/null 2>&1 || missing="$missing $command"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root=no; fi
if [ "$as_root" != no ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing Debian packages:$missing …"
    said=$(mktemp) || exit 1
    trap 'rm -f "$said"' EXIT
    $as_root apt-get update -qq >"$said" 2>&1
    # A browser without a font draws no text at all.
    case "$missing" in *chromium*) more="fonts-liberation" ;; *) more="" ;; esac
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing $more >>"$said" 2>&1
    failed=""
    for command in $missing; do
        command -v "$command" >/dev/null 2>&1 || failed="$failed $command"
    done
    [ -z "$failed" ] && exit 0
    missing=$failed
    echo "apt-get's last words:" >&2
    tail -n 5 "$said" | sed 's/^/  /' >&2
fi
echo "missing:$missing. To install: sudo apt-get install$missing" >&2
[ "$required" = yes ] && exit 1
exit 0
