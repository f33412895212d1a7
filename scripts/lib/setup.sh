# Shared by scripts/quickstart and scripts/test: installs what is missing. Sourced by bash.

RUST_MINIMUM=1.88

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# The word that makes a command run as root: nothing for root, sudo for others.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die "this needs root: run it as root, or install sudo, or run: $*"
    fi
}

server_binaries() {
    have initdb || have pg_config && [ -x "$(pg_config --bindir 2>/dev/null)/initdb" ] ||
        ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

# setup_packages COMMAND:PACKAGE... installs the package of every command that is missing.
# "postgres" stands for the server's binaries, which Debian keeps out of PATH.
setup_packages() {
    local missing=() pair command package
    for pair in "$@"; do
        command=${pair%%:*} package=${pair##*:}
        case $command in
            postgres) server_binaries || missing+=("$package") ;;
            *) PATH=$PATH:/usr/sbin:/sbin have "$command" || missing+=("$package") ;;
        esac
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || die "please install by hand (this is no Debian or Ubuntu): ${missing[*]}"
    say "installing packages: ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null || say "apt-get update failed; trying with the lists that are there"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install: ${missing[*]}"
}

# True where version $1 is at least $2.
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

rust_is_recent() {
    have cargo && have rustc && version_at_least "$(rustc --version | cut -d ' ' -f 2)" "$RUST_MINIMUM"
}

# A Rust that can build this, through rustup where the system's is missing or too old.
setup_rust() {
    [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
    if ! rust_is_recent; then
        if have rustup; then
            say "updating Rust with rustup"
            rustup toolchain install stable --profile minimal >/dev/null 2>&1 && rustup default stable >/dev/null 2>&1
        else
            setup_packages curl:curl
            say "installing Rust with rustup (into ~/.rustup and ~/.cargo)"
            local installer
            installer=$(mktemp)
            if curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs -o "$installer"; then
                sh "$installer" -y --profile minimal --no-modify-path >/dev/null 2>&1 || true
            fi
            rm -f "$installer"
            [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
        fi
    fi
    rust_is_recent && return 0
    say "error: Rust $RUST_MINIMUM or newer is needed, and rustup could not be reached" >&2
    say "hint: on a machine with a network, run: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2
    say "hint: offline, copy a stand-alone installer (https://forge.rust-lang.org/infra/other-installation-methods.html)" >&2
    say "      to this machine, run its install.sh, and then run this script again" >&2
    exit 1
}

# setup_rust_component COMMAND COMPONENT
setup_rust_component() {
    "$1" --version >/dev/null 2>&1 && return 0
    have rustup || die "$1 is missing; install it together with your Rust"
    rustup component add "$2" >/dev/null 2>&1 || die "rustup could not add $2"
}

# A kernel that can mount; and for people who are not root, the right to share their mounts.
setup_fuse() {
    [ -e /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] || die "/dev/fuse is not there: this kernel (or container) cannot mount FUSE filesystems"
    if [ "$1" = share ] && [ "$(id -u)" != 0 ] && ! grep -q '^user_allow_other' /etc/fuse.conf 2>/dev/null; then
        say "allowing users to share their mounts (user_allow_other in /etc/fuse.conf)"
        printf 'user_allow_other\n' | as_root tee -a /etc/fuse.conf >/dev/null
    fi
}
