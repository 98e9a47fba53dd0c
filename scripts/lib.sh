# shellcheck shell=bash
# What the scripts share: where things are, how they speak, how Compose is called. Sourced, never run.
# Not here: installing (.ci/prepare).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # used by those who source this
# What the prebuilt stage of docker/Dockerfile copies, and what .ci/prepare fetched.
images_dir=$root/target/images
tools_dir=$root/target/tools
PATH=$tools_dir/bin:$PATH

say() { printf '%s\n' "$*" >&2; }
# die CODE MESSAGE: one clear line, then the exit code (sysexits: 64 usage, 69 unavailable).
die() {
    local code=$1
    shift
    say "$(basename "$0"): $*"
    exit "$code"
}
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        die 69 "this needs root, and there is no sudo here: $*"
    fi
}

# Always this project, wherever the caller stands. Input is closed: Compose would eat a pipe's.
compose() { docker compose --project-directory "$root" "$@" </dev/null; }

# Says why on standard error if not.
docker_answers() { docker version --format '{{.Server.Version}}' >/dev/null; }
docker_ready() { have docker && docker compose version >/dev/null 2>&1 && docker_answers 2>/dev/null; }

# The first nats-server of at least 2.10: an earlier one lacks what the streams need.
nats_server() {
    local candidate
    for candidate in "${BEARISH_NATS_SERVER:-}" "$tools_dir/nats-server" "$(command -v nats-server || true)"; do
        if [ -x "$candidate" ] && "$candidate" --version | grep -Eq 'v2\.1[0-9]\.|v[3-9]\.'; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# What judges the text of /metrics.
promtool() {
    local candidate
    for candidate in "${BEARISH_PROMTOOL:-}" "$tools_dir/promtool" "$(type -P promtool || true)"; do
        if [ -x "$candidate" ]; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

docker_pull() { docker image inspect "$1" >/dev/null 2>&1 || docker pull -q "$1" >/dev/null 2>&1; }

# Builds all images. How, unless BINARIES says so: with the host's cargo where there is one, because that
# needs no registry and reuses its cache; else inside Docker, from the official Rust image.
build_images() {
    if [ -z "${BINARIES:-}" ]; then
        if have cargo; then
            BINARIES=prebuilt
        elif say "no cargo here: fetching the official Rust image" && docker_pull rust:1.95-bookworm; then
            BINARIES=compiled
        else
            die 69 "nothing to build with: no cargo here (Rust 1.95, https://rustup.rs) and no Docker registry answers"
        fi
    fi
    export BINARIES
    [ "$BINARIES" != prebuilt ] || stage_prebuilt
    say "building the images"
    # trader-paper's image is trader-live's too.
    compose --progress quiet build nats bus-init exchange-sim trader-paper socket-guard watchdog notifier
}

# The flags that make a static binary. With --target they stay away from build scripts and procedural
# macros, which are loaded dynamically.
build_static() {
    local target
    target=$(rustc -vV | sed -n 's/^host: //p')
    OPENSSL_STATIC=1 RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --release --locked --target "$target" --target-dir "$root/target" --manifest-path "$root/Cargo.toml" \
        -p bearish-trader -p bearish-exchange-sim -p bearish-watchdog -p bearish-notifier -p bearish-socket-guard \
        -p bearish-runtime --bins
    static_dir=$root/target/$target/release
}

# Fills target/images with what the prebuilt stage copies.
stage_prebuilt() {
    "$root/.ci/prepare" build
    say "building static binaries with $(cargo --version)"
    build_static
    mkdir -p "$images_dir/nats/usr/local/bin"
    install -m 755 -t "$images_dir" "$static_dir/trader" "$static_dir/exchange-sim" \
        "$static_dir/watchdog" "$static_dir/notifier" "$static_dir/socket-guard" "$static_dir/bus-init"
    install -m 644 -t "$images_dir" /etc/ssl/certs/ca-certificates.crt
    install -m 755 "$(nats_server)" "$images_dir/nats/usr/local/bin/nats-server"
    # Debian links it against libc, so the loader and libc come along (a static one has none to bring).
    local library
    for library in $(ldd "$(nats_server)" 2>/dev/null | grep -o '/[^ ]*' || true); do
        install -D -m 755 "$library" "$images_dir/nats$library"
    done
}
