#!/bin/sh
# Installs medsam2d as a service, or upgrades it; run by `make install` and `make uninstall`. Safe to repeat.
#
#   systemd/install.sh install [--wheelhouse FOLDER]   without the network: every package from FOLDER (`make wheelhouse` fills it)
#   systemd/install.sh uninstall                       removes program and units; keeps /etc/medsam2d and /var/lib/medsam2d
#
# DESTDIR=/some/root installs below another root (packaging, tests), DESTDIR=/ into this one (a container image): users are not made and
# systemd is not told.
set -eu

root=${DESTDIR:-}
root=${root%/}
prefix=/opt/medsam2d
source_folder=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}

say() { printf 'medsam2d: %s\n' "$*"; }
fail() { printf 'medsam2d: %s\n' "$*" >&2; exit 1; }
on_live_system() { [ -z "${DESTDIR:-}" ]; }

# A release is named by its version and by the commit it was made from, so that two of one version can stand side by side.
release_name() {
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$source_folder/pyproject.toml" | head -n 1)
    commit=$(git -C "$source_folder" rev-parse --short=12 HEAD 2>/dev/null || true)
    printf '%s%s' "$version" "${commit:+-$commit}"
}

require_rights() {
    if on_live_system; then
        [ "$(id -u)" -eq 0 ] || fail "installing needs root: sudo make install (or DESTDIR=FOLDER for another root)"
        command -v systemctl >/dev/null || fail "systemd is not here; run 'medsam2d serve' under your own service manager instead"
    fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11; set PYTHON=/path/to/python3.11"
    "$python" -c 'import ensurepip' 2>/dev/null || fail "$python lacks its venv module: apt-get install python3-venv"
}

build_release() {
    release="$root$prefix/releases/$name"
    if [ -e "$release/.complete" ]; then
        say "release $name is here already"
        return
    fi
    rm -rf "$release"
    mkdir -p "$release"
    "$python" -m venv "$release/.venv"
    pip="$release/.venv/bin/python -m pip --disable-pip-version-check install --quiet --constraint $source_folder/constraints.txt"
    torch=$(sed -n 's/^TORCH_VERSION := //p' "$source_folder/Makefile")
    if [ -n "$wheelhouse" ]; then
        pip="$pip --no-index --find-links $wheelhouse"
        $pip "torch==$torch"
    elif command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
        $pip "torch==$torch"
    else
        $pip "torch==$torch+cpu" 2>/dev/null || $pip "torch==$torch+cpu" --extra-index-url https://download.pytorch.org/whl/cpu
    fi
    # A copy, so that building leaves nothing in the source folder.
    build=$(mktemp -d)
    (cd "$source_folder" && tar -cf - --exclude=.venv --exclude=.git daemon dicom_io model rules pyproject.toml README.md LICENSE) | tar -xf - -C "$build"
    $pip "$build" || { rm -rf "$build"; fail "the packages could not be installed; see above"; }
    rm -rf "$build"
    cp -R "$source_folder/README.md" "$source_folder/LICENSE" "$source_folder/CHANGELOG.md" "$source_folder/docs" "$release/"
    "$release/.venv/bin/medsam2d" version >/dev/null || fail "the new release does not start; the one in use was not touched"
    touch "$release/.complete"
    say "release $name built"
}

place_files() {
    install -d -m 0755 "$root/etc/systemd/system" "$root/usr/lib/sysusers.d" "$root/usr/lib/tmpfiles.d"
    install -m 0644 "$source_folder/systemd/medsam2d.service" "$source_folder/systemd/medsam2d-worker@.service" "$root/etc/systemd/system/"
    install -m 0644 "$source_folder/systemd/medsam2d.sysusers.conf" "$root/usr/lib/sysusers.d/medsam2d.conf"
    install -m 0644 "$source_folder/systemd/medsam2d.tmpfiles.conf" "$root/usr/lib/tmpfiles.d/medsam2d.conf"
    if on_live_system; then
        systemd-sysusers medsam2d.conf
        systemd-tmpfiles --create medsam2d.conf
    else
        install -d -m 0750 "$root/etc/medsam2d" "$root/etc/medsam2d/rules"
        install -d -m 0700 "$root/var/lib/medsam2d" "$root/etc/medsam2d/secrets"
    fi
    if [ ! -e "$root/etc/medsam2d/config.yaml" ]; then
        sed -e 's|^  state: state .*|  state: /var/lib/medsam2d|' -e 's|^  paths: \[rules/library\]|  paths: [/etc/medsam2d/rules]|' \
            "$source_folder/config.yaml" >"$root/etc/medsam2d/config.yaml"
        chmod 0640 "$root/etc/medsam2d/config.yaml"
        for file in "$source_folder"/rules/library/*.yaml; do
            install -m 0640 "$file" "$root/etc/medsam2d/rules/"
        done
        if on_live_system; then chgrp -R medsam2d /etc/medsam2d/config.yaml /etc/medsam2d/rules; fi
        say "configuration written to /etc/medsam2d/config.yaml, example rules to /etc/medsam2d/rules: edit them before the first start"
    else
        say "configuration and rules in /etc/medsam2d are kept as they are"
    fi
}

# What runs of another release outside systemd, which we cannot stop on anybody's behalf, as "PID RELEASE" lines.
running_elsewhere() {
    for process in /proc/[0-9]*; do
        # A process may end while we look.
        program=$({ tr '\0' '\n' <"$process/cmdline"; } 2>/dev/null | sed -n '1s|^//*|/|p') || continue
        case $program in "$root$prefix/releases/$name/"*) continue ;; "$root$prefix/releases/"*) ;; *) continue ;; esac
        grep -q 'medsam2d.*\.service' "$process/cgroup" 2>/dev/null && on_live_system && continue
        release=${program#"$root$prefix/releases/"}
        printf '%s %s\n' "${process#/proc/}" "${release%%/*}"
    done
}

# The old release stops before the new one becomes `current`: two versions never run on one store.
switch_release() {
    was_active=no
    elsewhere=$(running_elsewhere | head -n 1)
    [ -z "$elsewhere" ] || fail "release ${elsewhere#* } still runs (process ${elsewhere%% *}), started by hand; stop it, then install again"
    if on_live_system && systemctl is-active --quiet medsam2d.service; then
        was_active=yes
        say "stopping the release in use; a running job is handed back and done again"
        systemctl stop 'medsam2d-worker@*.service' medsam2d.service
    fi
    ln -sfn "releases/$name" "$root$prefix/current.new"
    mv -T "$root$prefix/current.new" "$root$prefix/current"
    if on_live_system; then
        systemctl daemon-reload
        if [ "$was_active" = yes ]; then systemctl start medsam2d.service && say "started $name; the store is migrated as it opens"; fi
    fi
}

do_install() {
    require_rights
    name=$(release_name)
    build_release
    place_files
    switch_release
    say "installed $name"
    if [ "$was_active" = no ] && on_live_system; then
        say "next: edit /etc/medsam2d/config.yaml, then"
        say "  $prefix/current/.venv/bin/medsam2d check --config /etc/medsam2d/config.yaml && systemctl enable --now medsam2d"
    fi
}

do_uninstall() {
    if on_live_system; then
        [ "$(id -u)" -eq 0 ] || fail "removing needs root: sudo make uninstall"
        systemctl disable --now medsam2d.service 2>/dev/null || true
        systemctl stop 'medsam2d-worker@*.service' 2>/dev/null || true
    fi
    rm -f "$root/etc/systemd/system/medsam2d.service" "$root/etc/systemd/system/medsam2d-worker@.service"
    rm -f "$root/usr/lib/sysusers.d/medsam2d.conf" "$root/usr/lib/tmpfiles.d/medsam2d.conf"
    rm -rf "$root$prefix/releases" "$root$prefix/current"
    rmdir "$root$prefix" 2>/dev/null || true
    if on_live_system; then systemctl daemon-reload; fi
    say "removed; /etc/medsam2d and /var/lib/medsam2d are kept (they hold your configuration, studies and audit trail)"
}

action=${1:-}
[ $# -gt 0 ] && shift
wheelhouse=
while [ $# -gt 0 ]; do
    case $1 in
        --wheelhouse) [ -d "${2:-}" ] || fail "--wheelhouse: expected a folder, got '${2:-}'"; wheelhouse=$(cd "$2" && pwd); shift 2 ;;
        *) fail "unknown option $1" ;;
    esac
done
case $action in
    install) do_install ;;
    uninstall) do_uninstall ;;
    *) fail "expected install or uninstall, got '${action}'" ;;
esac
