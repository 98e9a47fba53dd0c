# shellcheck shell=bash
# What the scripts share: paths, messages, the call of Compose, the build of the images. Sourced, never run.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
# What the prebuilt stage of docker/Dockerfile copies.
images_dir=$root/target/images
# What .ci/prepare fetched: once per machine, for all checkouts.
tools_dir=${XDG_CACHE_HOME:-${HOME:-$root/target}/.cache}/bearish-alpha/tools
PATH=$tools_dir/bin:$PATH

say() { printf '%s\n' "$*" >&2; }
# die CODE MESSAGE: one line, then the exit code (sysexits: 64 usage, 69 unavailable, 78 configuration).
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
        die 69 "root is needed and sudo is missing: $*"
    fi
}

# Settings of this checkout. A test run has its own.
env_file=${BEARISH_ENV_FILE:-$root/.env}

# This project, whatever the current directory. Input is closed, because Compose would read it.
compose() {
    docker compose --project-directory "$root" ${BEARISH_ENV_FILE:+--env-file "$BEARISH_ENV_FILE"} "$@" </dev/null
}

# Of `docker compose ps`: what fits a narrow terminal.
# shellcheck disable=SC2034  # used by up and bearish
container_columns='table {{.Name}}\t{{.Status}}'

# setting NAME [DEFAULT]: the value that Compose would use, without its quotes or a comment behind it.
setting() {
    local value=${!1:-}
    if [ -z "$value" ] && [ -e "$env_file" ]; then
        value=$(sed -n "s/^$1=//p" "$env_file" | tail -n 1 |
            sed -E "s/\\r\$//; s/^'([^']*)'.*/\\1/; t; s/^\"([^\"]*)\".*/\\1/; t; s/[[:space:]]+(#.*)?\$//")
    fi
    printf '%s' "${value:-${2:-}}"
}

# keep_setting NAME VALUE: writes it to .env, in place of an earlier value.
keep_setting() {
    local others=""
    [ "$(sed -n "s/^$1=//p" "$env_file" 2>/dev/null)" != "$2" ] || return 0
    [ ! -e "$env_file" ] || others=$(grep -v "^$1=" "$env_file" || true)
    # Into the same file, which keeps its mode.
    (umask 077 && printf '%s\n' ${others:+"$others"} "$1=$2" >"$env_file")
}

# Files in secrets/, beside .env, are used under their usual names without being named in .env.
find_secrets() {
    local name file dir=./secrets
    [ "$env_file" = "$root/.env" ] || dir=$(dirname "$env_file")/secrets
    for name in BINANCE_API_KEY BINANCE_API_SECRET TELEGRAM_BOT_TOKEN FALLBACK_URL DEADMAN_URL; do
        file=$dir/$(printf '%s' "$name" | tr 'A-Z_' 'a-z-')
        if (cd "$root" && [ -e "$file" ]) && [ -z "$(setting "${name}_FILE")" ]; then
            say "using $file: writing ${name}_FILE=$file to .env"
            keep_setting "${name}_FILE" "$file"
        fi
    done
}

# Live trading reads its keys from files of this machine.
require_live_keys() {
    local name
    for name in BINANCE_API_KEY_FILE BINANCE_API_SECRET_FILE; do
        [ -n "$(setting "$name")" ] ||
            die 78 "$name names no file: put the key into secrets/$(printf '%s' "${name%_FILE}" | tr 'A-Z_' 'a-z-'), or set $name in .env"
    done
}

# Prints the cause on standard error if not.
docker_answers() {
    local code=0
    timeout "${BEARISH_DOCKER_TIMEOUT:-30}" docker version --format '{{.Server.Version}}' >/dev/null || code=$?
    [ "$code" != 124 ] || say "Docker does not answer within ${BEARISH_DOCKER_TIMEOUT:-30} s"
    return "$code"
}
docker_ready() { have docker && docker compose version >/dev/null 2>&1 && docker_answers 2>/dev/null; }

# Exit 69 if the preparation of this machine cannot help: Docker refuses this user, or is on another machine.
die_if_docker_is_out_of_reach() {
    local reason
    reason=$(docker_answers 2>&1) || true
    case $reason in *"permission denied"*)
        die 69 "user $(id -un) may not use Docker: run as root, or: sudo adduser $(id -un) docker, then log in again" ;;
    esac
    [ -z "${DOCKER_HOST:-}" ] || die 69 "${reason:-Docker Compose v2 is missing} (DOCKER_HOST=\"$DOCKER_HOST\")"
}

# Exit 69 with Docker's own reason if it does not answer.
require_docker() {
    local reason
    ! docker_ready || return 0
    die_if_docker_is_out_of_reach
    reason=$(docker_answers 2>&1) || true
    have docker || reason="Docker is missing"
    die 69 "${reason:-Docker Compose v2 is missing}; scripts/up installs and starts what is missing"
}

# The user of the containers.
container_user=10001

# container_user_may BITS PATH: whether the mode of the file gives that user these rights (4 read, 2 write).
container_user_may() {
    local user group mode
    read -r user group mode < <(stat -Lc '%u %g %a' "$2")
    mode=$((8#$mode))
    case $container_user in
        "$user") mode=$((mode >> 6)) ;;
        "$group") mode=$((mode >> 3)) ;;
    esac
    [ $((mode & $1)) = "$1" ]
}

# path_setting NAME: the path of a file or directory of this machine, from any current directory.
path_setting() {
    local path
    path=$(setting "$1")
    path=${path/#\~/$HOME}
    case $path in "" | /*) ;; *) path=$root/$path ;; esac
    printf '%s' "$path"
}

# Files and directories of this machine that settings name. Docker would create a missing directory as root, and a
# container knows only its own path.
check_paths() {
    local name path reader="user $container_user, who runs the containers,"
    for name in SIM_CANDLES_FILE BINANCE_API_KEY_FILE BINANCE_API_SECRET_FILE TELEGRAM_BOT_TOKEN_FILE FALLBACK_URL_FILE \
        DEADMAN_URL_FILE; do
        path=$(path_setting "$name")
        [ -n "$path" ] || continue
        [ -e "$path" ] || die 78 "$name=\"$path\": expected a file; there is none: correct it in .env"
        [ ! -d "$path" ] || die 78 "$name=\"$path\": expected a file, not a directory: correct it in .env"
        container_user_may 4 "$path" ||
            die 78 "$name=\"$path\": $reader may not read it: sudo chown $container_user $path"
    done
    path=$(setting DOCKER_SOCKET /var/run/docker.sock)
    [ -S "$path" ] || die 78 "DOCKER_SOCKET=\"$path\": expected Docker's socket on this machine: correct it in .env"
    # Any other value names a volume.
    case $(setting LOG_DIR) in */* | . | ~) ;; *) return 0 ;; esac
    path=$(path_setting LOG_DIR)
    [ -d "$path" ] ||
        die 78 "LOG_DIR=\"$path\": expected a directory; there is none: sudo install -d -o $container_user $path"
    container_user_may 2 "$path" ||
        die 78 "LOG_DIR=\"$path\": $reader may not write there: sudo chown $container_user $path"
}

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

# Where .ci/prepare puts the newest nats-server, for tests only.
newest_nats_server() { printf '%s\n' "$tools_dir/newest/nats-server"; }

# Checks the text of /metrics.
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

# build_images PROFILE: with the host's cargo where there is one, because that needs no registry and reuses its
# cache; else inside Docker, from the official Rust image. BINARIES=prebuilt or compiled decides otherwise.
# PROFILE is release, dev for the programs that the tests have built, or existing for the images as they are.
build_images() {
    local profile=$1
    [ "$profile" != existing ] || return 0
    if [ -z "${BINARIES:-}" ]; then
        if have cargo; then
            BINARIES=prebuilt
        elif say "no cargo found: fetching the official Rust image" && docker_pull rust:1.95-bookworm; then
            BINARIES=compiled
        else
            die 69 "no compiler: neither cargo (Rust 1.95, https://rustup.rs) nor a Docker registry is available"
        fi
    fi
    export BINARIES
    [ "$BINARIES" != prebuilt ] || stage_prebuilt "$profile"
    say "building the images"
    # trader-paper and trader-live have the same image.
    compose --progress quiet build nats bus-init exchange-sim trader-paper socket-guard watchdog notifier
}

programs=(trader exchange-sim watchdog notifier socket-guard bus-init)

# Where cargo puts this profile's programs. .cargo/config.toml names the target and makes them static.
static_dir() { printf '%s' "$root/target/$(rustc -vV | sed -n 's/^host: //p')/${1/dev/debug}"; }

# On a terminal cargo shows its own progress; elsewhere a line for every 50 crates.
build_release() {
    local build=(cargo build --release --locked --target-dir "$root/target" --bins
        -p bearish-trader -p bearish-exchange-sim -p bearish-watchdog -p bearish-notifier -p bearish-socket-guard
        -p bearish-runtime)
    if [ -t 2 ]; then "${build[@]}"; else "${build[@]}" 2>&1 >/dev/null | count_crates; fi
}

count_crates() {
    local line count=0
    while read -r line; do
        case $line in
            "Compiling "*)
                count=$((count + 1))
                [ $((count % 50)) != 0 ] || say "$count crates compiled ($SECONDS s so far)" ;;
            "Downloading "* | "Downloaded "* | "Updating "* | "Locking "* | "Finished "*) ;;
            *) say "$line" ;;
        esac
    done
}

# stage_prebuilt PROFILE: fills target/images with what the prebuilt stage copies.
stage_prebuilt() {
    local profile=$1 program library
    "$root/.ci/prepare" build
    if [ "$profile" = release ]; then
        say "compiling with $(cargo --version)"
        [ -x "$(static_dir release)/trader" ] ||
            say "the first time takes about 10 minutes on two cores, and 3 GB of disk in target/"
        # cargo finds .cargo/config.toml from the current directory.
        (cd "$root" && build_release) || die 69 "compiling failed: cargo's error is above"
    fi
    mkdir -p "$images_dir/nats/usr/local/bin"
    for program in "${programs[@]}"; do
        # A file that did not change keeps its time, and its image its layer.
        strip -o "$images_dir/$program.next" "$(static_dir "$profile")/$program"
        replace_if_different "$images_dir/$program.next" "$images_dir/$program"
    done
    install -m 644 -t "$images_dir" /etc/ssl/certs/ca-certificates.crt
    install -m 755 "$(nats_server)" "$images_dir/nats/usr/local/bin/nats-server"
    # Debian links it against libc, so the loader and libc come along (a static one has none to bring).
    for library in $(ldd "$(nats_server)" 2>/dev/null | grep -o '/[^ ]*' || true); do
        install -D -m 755 "$library" "$images_dir/nats$library"
    done
}

replace_if_different() {
    if cmp -s "$1" "$2"; then rm -f "$1"; else chmod 755 "$1" && mv -f "$1" "$2"; fi
}
