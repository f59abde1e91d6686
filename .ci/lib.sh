# Shared by the scripts of this folder: where things are kept, and how they speak. Source it, do not run it.
# shellcheck shell=bash

CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/tana-ci"
mkdir -p "$CACHE"

say() {
    printf '%s: %s\n' "${0##*/}" "$*"
}

die() {
    printf '%s: error: %s\n' "${0##*/}" "$1" >&2
    [ $# -lt 2 ] || printf '  → %s\n' "$2" >&2
    exit 1
}

# quietly WHAT COMMAND…: run it with its output in a log that is shown only if it fails.
quietly() {
    local what=$1 log started=$SECONDS
    shift
    log="$CACHE/${what//[^a-z0-9]/-}.log"
    if "$@" >"$log" 2>&1; then
        say "$what ($((SECONDS - started)) s)"
    else
        tail -n 15 "$log" >&2
        die "$what failed" "the whole output is in $log"
    fi
}

# retry COMMAND…: up to three times, as registries are sometimes busy.
retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" && return 0
        [ "$attempt" = 3 ] || sleep $((attempt * 5))
    done
    return 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "this needs root" "run it with sudo"
}

# install_packages WHAT PACKAGE…: Debian packages, with lists no older than this run needs.
install_packages() {
    local what=$1
    shift
    need_root
    command -v apt-get >/dev/null || die "$what is missing, and this is no Debian or Ubuntu" "install it by hand: $*"
    quietly "package lists read" retry apt-get update
    quietly "$what installed" retry env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# fingerprint TEXT…: what a cached thing was made from, as a short tag.
fingerprint() {
    printf '%s\n' "$@" | sha256sum | cut -c1-12
}

has_image() {
    docker image inspect "$1" >/dev/null 2>&1
}

# import_debian IMAGE PACKAGE…: a minimal Debian of this machine's release with a few packages, as an image.
import_debian() {
    local image=$1 codename mirror root
    shift
    need_root
    command -v debootstrap >/dev/null || install_packages "debootstrap" debootstrap
    codename=$(. /etc/os-release && printf %s "$VERSION_CODENAME")
    # shellcheck disable=SC2016  # apt fills these in
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 'Component: main' |
        awk -v suite="$codename" '$1 == suite {print $2; exit}')
    [ -n "$mirror" ] || die "no Debian source on this machine" "give BASE_IMAGE an image that is here already"
    mkdir -p "$CACHE/debs"
    root=$(mktemp -d "$CACHE/root.XXXXXX")
    # shellcheck disable=SC2064  # the folder of now
    trap "rm -rf '$root'" EXIT
    quietly "$image unpacked" retry debootstrap --variant=minbase --cache-dir="$CACHE/debs" \
        --include="$(printf '%s,' "$@")" "$codename" "$root" "$mirror"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/doc/* \
        "$root"/usr/share/man/* "$root"/usr/share/locale/*
    quietly "$image imported" bash -c 'tar -C "$1" -c . | docker import - "$2"' _ "$root" "$image"
    rm -rf "$root"
    trap - EXIT
}
