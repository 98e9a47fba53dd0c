# shellcheck shell=bash
# Shared by backup and restore: the system's volumes as one tar, and back. Sourced after lib.sh, never run.
#
# An archive holds data/, the files of the bus with the whole state of the system; and, if there is a simulated
# exchange, state/ with its clock.

project=""
# Volumes are named after the project; only Compose knows its name, which .env or COMPOSE_PROJECT_NAME may change.
find_project() {
    require_docker
    project=$(compose config | sed -n 's/^name: //p')
    [ -n "$project" ] || die 78 "compose.yaml with .env has no project name"
}

# The bus's journal, which every archive has.
journal='^data/jetstream/[^/]*/streams/JOURNAL/'

# Volume of compose.yaml -> its directory in an archive.
volumes=(nats exchange-sim)
directory() { case $1 in nats) echo data ;; exchange-sim) echo state ;; esac; }
in_archive() { tar -tf "$1" "$(directory "$2")/" >/dev/null 2>&1; }
volume_exists() { docker volume inspect "${project}_$1" >/dev/null 2>&1; }
remove_volume() { ! volume_exists "$1" || docker volume rm "${project}_$1" >/dev/null; }

archive_container="" archive_image=""
archive_name() { echo "$project-archive"; }
# The container is also the lock: two at once would stop and start the same services.
refuse_a_second() {
    ! docker container inspect "$(archive_name)" >/dev/null 2>&1 ||
        die 69 "another backup or restore runs; if one was killed: docker rm $(archive_name)"
}

# A container of an empty image that never runs: through it Docker reads and writes volumes as tar streams. No image of
# the system is needed, so a restore works on a bare machine.
create_archive_container() {
    local volume mounts=()
    for volume in "$@"; do mounts+=(-v "${project}_$volume:/$(directory "$volume")"); done
    archive_image=$(tar -cf - -T /dev/null | docker import - 2>/dev/null)
    archive_container=$(docker create --network none --name "$(archive_name)" "${mounts[@]}" "$archive_image" none)
}

remove_archive_container() {
    [ -z "$archive_container" ] || docker rm "$archive_container" >/dev/null
    [ -z "$archive_image" ] || docker rmi "$archive_image" >/dev/null
    archive_container="" archive_image=""
}

# Saves the volumes that exist to a file that only the user can read.
save_volumes() {
    local file=$1 volume present=()
    for volume in "${volumes[@]}"; do ! volume_exists "$volume" || present+=("$volume"); done
    create_archive_container "${present[@]}"
    (
        umask 077
        rm -f "$file" "$file.next"
        for volume in "${present[@]}"; do
            docker cp "$archive_container:/$(directory "$volume")" - >"$file.next"
            if [ -e "$file" ]; then tar --concatenate -f "$file" "$file.next"; else mv "$file.next" "$file"; fi
        done
        rm -f "$file.next"
    )
    remove_archive_container
    sync "$file"
}

# check_archive FILE: the file is readable to its end, holds a journal, and nothing but these two directories.
check_archive() {
    local listed strange
    listed=$(tar -tf "$1" 2>/dev/null) || die 64 "$1: not a tar, or cut off"
    grep -q "$journal" <<<"$listed" || die 64 "$1: no journal of the bus in it (data/jetstream/*/streams/JOURNAL)"
    strange=$( (grep -Ev '^(data|state)/' <<<"$listed"; grep -F '..' <<<"$listed") | head -n 1 || true)
    [ -z "$strange" ] || die 64 "$1: holds '$strange': expected only data/ and state/, as scripts/backup writes them"
}

# Every file of a tar on standard input: name, mode, user, group and checksum.
contents() {
    # shellcheck disable=SC2016  # tar's own shell expands these
    tar -xf - --to-command='printf "%s %s %s:%s " "$TAR_FILENAME" "$TAR_MODE" "$TAR_UID" "$TAR_GID"; sha256sum' |
        LC_ALL=C sort
}
