# Shared by scripts/quickstart and scripts/test: installs what is missing. Sourced by bash.

RUST_MINIMUM=1.88
GO_MINIMUM=1.22
# Go's module proxy has whole toolchains too.
GO_TOOLCHAIN=https://proxy.golang.org/golang.org/toolchain/@v/v0.0.1-go1.22.12.linux-amd64.zip
GO_TOOLCHAIN_SHA256=d426bcf50497ae8665e741482aba04fc12782e8860857229d4005dcc480fd89b
# Both have the same script; the first is the address that people know.
RUSTUP_INSTALLERS="https://sh.rustup.rs https://static.rust-lang.org/rustup/rustup-init.sh"

# Bare environments (cron, setpriv, some containers) have none.
[ -n "${HOME:-}" ] || { HOME=$(getent passwd "$(id -u)" | cut -d : -f 6) && export HOME; }

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root: plainly for root, with sudo for others.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo. As root, run: $*"
    fi
}

server_binaries() {
    have initdb || have pg_config && [ -x "$(pg_config --bindir 2>/dev/null)/initdb" ] ||
        ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

# The certificates that cargo and curl trust.
certificates() {
    [ -s "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ] ||
        [ -s /etc/ssl/ca-bundle.pem ]
}

# setup_packages COMMAND:PACKAGE... installs the package of every command that is missing.
# "postgres" stands for the server's binaries, which Debian keeps out of PATH; "certificates" is no command either.
setup_packages() {
    local missing=() pair command package
    for pair in "$@"; do
        command=${pair%%:*} package=${pair##*:}
        case $command in
            postgres) server_binaries || missing+=("$package") ;;
            certificates) certificates || missing+=("$package") ;;
            *) PATH=$PATH:/usr/sbin:/sbin have "$command" || missing+=("$package") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || die "please install these first (this is no Debian or Ubuntu, whose names they have): ${missing[*]}"
    local by_hand="As root, run: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    [ "$(id -u)" = 0 ] || have sudo || die "packages are missing, and there is no sudo. $by_hand"
    say "installing packages: ${missing[*]}"
    [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null || sudo -v || die "sudo does not let $(id -un) in. $by_hand"
    local quiet=(env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -q)
    as_root "${quiet[@]}" update >/dev/null || say "apt-get update failed; trying with the lists that are there"
    as_root "${quiet[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install them. $by_hand"
}

# True where version $1 is at least $2; "(none)" and nothing are no versions.
version_at_least() { [[ $1 == [0-9]* ]] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_is_recent() {
    hash -r
    have cargo && have rustc && version_at_least "$(rustc --version 2>/dev/null | cut -d ' ' -f 2)" "$RUST_MINIMUM"
}

# Looks at the system's Rust, then at what rustup has installed, which comes first from then on.
find_rust() {
    rust_is_recent && return 0
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
    rust_is_recent
}

# What setup_rust will want from setup_packages, so that all that is missing is named at once.
rust_packages() { find_rust || have rustup || echo curl:curl; }

# Rust as Debian and Ubuntu package it, if what they offer is recent enough (Debian has a second pair for its browsers).
# Nothing is removed for it.
rust_from_packages() {
    have apt-get && have apt-cache && { [ "$(id -u)" = 0 ] || have sudo; } || return 0
    local pair offered
    for pair in rustc:cargo rustc-web:cargo-web; do
        offered=$(apt-cache policy "${pair%:*}" 2>/dev/null | sed -n 's/^ *Candidate: *//p')
        version_at_least "${offered%%[+~-]*}" "$RUST_MINIMUM" || continue
        say "installing packages: ${pair%:*} ${pair#*:} ($1)"
        as_root env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -q install -y \
            --no-install-recommends --no-remove "${pair%:*}" "${pair#*:}" >/dev/null && return 0
        say "hint: as root, \"apt-get install ${pair%:*} ${pair#*:}\" brings Rust ${offered%%[+~-]*} and removes what is in its way"
    done
}

# A Rust that can build this, through rustup where the system's is missing or too old, else from packages.
setup_rust() {
    find_rust && return 0
    local found="there is none" why=""
    ! have rustc || found="$(command -v rustc) is $(rustc --version 2>/dev/null | cut -d ' ' -f 2)"
    if have rustup; then
        say "updating Rust with rustup ($found)"
        why=$({ rustup toolchain install stable --profile minimal && rustup default stable; } 2>&1 >/dev/null) || true
    else
        setup_packages curl:curl certificates:ca-certificates
        say "installing Rust with rustup (into ~/.rustup and ~/.cargo)"
        local installer address
        installer=$(mktemp)
        for address in $RUSTUP_INSTALLERS; do
            why=$(curl --proto '=https' --tlsv1.2 -sSfL --retry 2 "$address" -o "$installer" 2>&1) || continue
            # A Rust of the system beside it is no reason to stop: this one comes first below.
            why=$(RUSTUP_INIT_SKIP_PATH_CHECK=yes sh "$installer" -y --profile minimal --default-toolchain stable \
                --no-modify-path 2>&1 >/dev/null) || true
            break
        done
        rm -f "$installer"
        rust_is_recent || rust_from_packages "rustup could not be had"
    fi
    rust_is_recent && return 0
    {
        say "error: Rust $RUST_MINIMUM or newer is needed ($found), and rustup could not bring it:"
        printf '%s\n' "${why:-no message}" | tail -n 2 | sed 's/^/    /'
        say "hint: with a network, install it and run this script again:"
        say "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
        say "hint: without one, download on another machine the stand-alone installer of Rust for $(uname -m) Linux from"
        say "    https://forge.rust-lang.org/infra/other-installation-methods.html"
        say "    copy it here, unpack it, run its install.sh as root, and run this script again. The crates come from"
        say "    crates.io: where that is out of reach too, copy ~/.cargo/registry of a machine that has built this."
    } >&2
    exit 1
}

# setup_rust_component COMMAND COMPONENT
setup_rust_component() {
    "$1" --version >/dev/null 2>&1 && return 0
    have rustup || die "$1 is missing; install it together with your Rust"
    rustup component add "$2" >/dev/null 2>&1 || die "rustup could not add $2"
}

go_is_recent() {
    have go || [ ! -x /usr/local/go/bin/go ] || PATH=$PATH:/usr/local/go/bin
    have go && version_at_least "$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//')" "$GO_MINIMUM"
}

# find_go DIRECTORY: the system's Go, else the one that fetch_go has put there, which comes first from then on.
find_go() {
    go_is_recent && return 0
    [ -x "$1/go/bin/go" ] || return 1
    PATH=$1/go/bin:$PATH
    go_is_recent
}

# fetch_go DIRECTORY: into DIRECTORY/go, nothing outside.
fetch_go() {
    local zip=$1/go.zip state=0
    mkdir -p "$1"
    { curl --proto '=https' -sSfL --retry 2 "$GO_TOOLCHAIN" -o "$zip" &&
        printf '%s  %s\n' "$GO_TOOLCHAIN_SHA256" "$zip" | sha256sum --check --status &&
        rm -rf "$1/go" "$1/golang.org" && unzip -q "$zip" -d "$1" &&
        # Modules have no permissions.
        chmod +x "$1"/golang.org/toolchain@*/bin/* "$1"/golang.org/toolchain@*/pkg/tool/*/* &&
        mv "$1"/golang.org/toolchain@* "$1/go"; } 2>/dev/null || state=1
    rm -rf "$zip" "$1/golang.org"
    return $state
}

# setup_go DIRECTORY: a Go for the verifier of data files, from the system's packages where they have one that is new
# enough, else from the module proxy; else it is done without.
setup_go() {
    find_go "$1" && return 0
    local candidate
    candidate=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/^  Candidate: \([0-9]*:\)\{0,1\}//p')
    if [ -n "$candidate" ] && version_at_least "$candidate" "$GO_MINIMUM"; then
        setup_packages go:golang-go
    elif [ "$(uname -m)" = x86_64 ]; then
        setup_packages curl:curl unzip:unzip
        say "fetching Go from its module proxy (into $1/go)"
        fetch_go "$1" || true
    fi
    find_go "$1" || say "SKIP the verifier in Go: there is no Go $GO_MINIMUM or newer, and none could be had"
}

# A kernel that can mount; and for people who are not root, the right to share their mounts.
setup_fuse() {
    if [ ! -e /dev/fuse ] && { [ "$(id -u)" = 0 ] || have sudo; }; then
        as_root modprobe fuse 2>/dev/null || true
    fi
    [ -e /dev/fuse ] ||
        die "/dev/fuse is not there: run modprobe fuse as root, or give the container --device /dev/fuse --cap-add SYS_ADMIN"
    if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
        have sudo || die "/dev/fuse is closed to $(id -un). As root, run: chmod 666 /dev/fuse"
        say "opening /dev/fuse to all users, as distributions have it"
        as_root chmod 666 /dev/fuse || die "/dev/fuse is closed to $(id -un). As root, run: chmod 666 /dev/fuse"
    fi
    # Bare images have none; without it fusermount3 mounts for users and does not unmount.
    [ "$(id -u)" = 0 ] || [ -e /etc/mtab ] || as_root ln -s ../proc/self/mounts /etc/mtab
    if [ "$1" = share ] && [ "$(id -u)" != 0 ] && ! grep -q '^user_allow_other' /etc/fuse.conf 2>/dev/null; then
        say "allowing users to share their mounts (user_allow_other in /etc/fuse.conf)"
        printf 'user_allow_other\n' | as_root tee -a /etc/fuse.conf >/dev/null
    fi
}
