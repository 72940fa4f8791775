#!/bin/bash
# install_dependencies.sh [run|test]: installs the Debian or Ubuntu packages that are missing to build llm_router and
# try it ("run"), or also to run its tests ("test", the default). Quick, and without root, when none is missing.
#
# Works as root or with sudo. Uses the PostgreSQL server that is installed (15 to 18), else the distribution's. It
# creates no cluster, starts and restarts no service, and touches no existing cluster.
set -euo pipefail
# shellcheck source=test/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

purpose=${1:-test}
case $purpose in
    run | test) ;;
    *) fail "unknown purpose \"$purpose\"" "usage: bash test/install_dependencies.sh [run|test]" ;;
esac
command -v apt-get >/dev/null || fail "this is neither Debian nor Ubuntu: apt-get is missing" \
    "install PostgreSQL 15 to 18 with its development files, libcurl 7.87 or newer, OpenSSL 3, gcc, make and Python 3"

sudo=()
if ! is_root; then sudo=(sudo); fi

need_root() {
    is_root || command -v sudo >/dev/null ||
        fail "packages are missing ($*) and there is no sudo" "as root, run: apt-get install $*"
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null)" = "ii " ]; }

update_index() {
    say "refreshing the package lists"
    "${sudo[@]}" apt-get update -qq ||
        fail "apt-get update failed" "check the network and /etc/apt/sources.list, then run this again"
}

# The major version: of the newest server installed, else of the one which package "postgresql" brings.
server_version() {
    local server version
    for server in $(installed_servers); do
        basename "$server"
        return
    done
    version=$(apt-cache show postgresql 2>/dev/null | sed -n 's/^Version: \([0-9]*\).*/\1/p' | sort -n | tail -1)
    case $version in
        15 | 16 | 17 | 18) echo "$version" ;;
        *) fail "this distribution offers PostgreSQL ${version:-(none)}; llm_router needs 15 to 18" \
            "add the packages of apt.postgresql.org, or use Debian 12 or newer, Ubuntu 24.04 or newer" ;;
    esac
}

packages() {
    local version=$1
    echo gcc make libc6-dev libcurl4-openssl-dev libssl-dev libkrb5-dev
    echo "postgresql-$version" "postgresql-server-dev-$version"
    echo ca-certificates curl python3 python3-venv
    if [ "$purpose" = test ]; then
        echo "postgresql-$version-pgtap" "postgresql-$version-pgaudit" libtap-parser-sourcehandler-pgtap-perl libipc-run-perl perl
        echo clang libclang-rt-dev cppcheck openssl tinyproxy-bin pgbouncer
    fi
}

# Written before and removed after apt-get: no cluster "main" for a newly installed server, and no service started or
# restarted by a package's scripts. Files which are there already belong to somebody else and stay.
cluster_policy=/etc/postgresql-common/createcluster.d/llm_router.conf
service_policy=/usr/sbin/policy-rc.d
written=()
write_policy() {
    [ ! -e "$1" ] || return 0
    "${sudo[@]}" mkdir -p "$(dirname "$1")"
    written+=("$1")
    printf '%s\n' "$2" | "${sudo[@]}" tee "$1" >/dev/null
    "${sudo[@]}" chmod "$3" "$1"
}
remove_policies() {
    local file
    for file in "${written[@]}"; do "${sudo[@]}" rm -f "$file"; done
}

install_packages() {
    trap remove_policies EXIT
    write_policy "$cluster_policy" 'create_main_cluster = false' 644
    write_policy "$service_policy" $'#!/bin/sh\nexit 101' 755
    say "installing: $*"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get install -y -qq --no-install-recommends "$@" >&2 ||
        fail "apt-get could not install the packages" "see its message above; then run this again"
}

version=$(server_version 2>/dev/null || true)
if [ -z "$version" ]; then
    need_root "postgresql"
    update_index
    version=$(server_version)
fi

missing=()
for package in $(packages "$version"); do
    is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
    say "every package needed is installed (PostgreSQL $version)"
else
    need_root "${missing[@]}"
    update_index
    install_packages "${missing[@]}"
fi

# CURLOPT_QUICK_EXIT, without which a slow name server would hold up a cancel, came with 7.87 (curl's own history).
curl-config --checkfor 7.87.0 >&2 ||
    fail "libcurl is too old" "llm_router needs 7.87 or newer: Debian 12, Ubuntu 24.04 or newer have it"
