# shellcheck shell=bash
# What backup and restore share: the system's volumes as one tar, and back. Sourced after lib.sh, never run.
# What must stand still for it is not decided here.
#
# In an archive is data/, the bus's files, which is everything the system knows; and, where there is a
# simulated exchange, state/, the clock of its market.

project=""
# Volumes are called after the project, and only Compose knows what .env or COMPOSE_PROJECT_NAME make of that.
find_project() {
    docker_ready || die 69 "Docker does not answer; .ci/prepare docker installs it"
    project=$(compose config | sed -n 's/^name: //p')
    [ -n "$project" ] || die 78 "compose.yaml with .env has no project name"
}

# The bus's journal: what is an archive of ours has it.
journal='^data/jetstream/[^/]*/streams/JOURNAL/'

# Volume of compose.yaml -> its directory in an archive.
volumes=(nats exchange-sim)
directory() { case $1 in nats) echo data ;; exchange-sim) echo state ;; esac; }
in_archive() { tar -tf "$1" "$(directory "$2")/" >/dev/null 2>&1; }
volume_exists() { docker volume inspect "${project}_$1" >/dev/null 2>&1; }
remove_volume() { ! volume_exists "$1" || docker volume rm "${project}_$1" >/dev/null; }

door="" door_image=""
door_name() { echo "$project-archive"; }
# The door is also the lock: two at once would stop and start under each other's hands.
refuse_a_second() {
    ! docker container inspect "$(door_name)" >/dev/null 2>&1 ||
        die 69 "another backup or restore runs; if one was killed: docker rm $(door_name)"
}

# A container that never runs, of an image with nothing in it: through it Docker reads and writes volumes
# as tar streams. No image of the system is needed, so a restore works on a bare machine.
open_door() {
    local volume mounts=()
    for volume in "$@"; do mounts+=(-v "${project}_$volume:/$(directory "$volume")"); done
    door_image=$(tar -cf - -T /dev/null | docker import - 2>/dev/null)
    door=$(docker create --network none --name "$(door_name)" "${mounts[@]}" "$door_image" none)
}

close_door() {
    [ -z "$door" ] || docker rm "$door" >/dev/null
    [ -z "$door_image" ] || docker rmi "$door_image" >/dev/null
    door="" door_image=""
}

# Those of the volumes that exist, into a file that only we can read.
save_volumes() {
    local file=$1 volume present=()
    for volume in "${volumes[@]}"; do ! volume_exists "$volume" || present+=("$volume"); done
    open_door "${present[@]}"
    (
        umask 077
        rm -f "$file" "$file.next"
        for volume in "${present[@]}"; do
            docker cp "$door:/$(directory "$volume")" - >"$file.next"
            if [ -e "$file" ]; then tar --concatenate -f "$file" "$file.next"; else mv "$file.next" "$file"; fi
        done
        rm -f "$file.next"
    )
    close_door
    sync "$file"
}

# check_archive FILE: it can be read to its end, holds a journal, and nothing that is not ours.
check_archive() {
    local listed strange
    listed=$(tar -tf "$1" 2>/dev/null) || die 64 "$1: not a tar, or cut off"
    grep -q "$journal" <<<"$listed" || die 64 "$1: has no journal of the bus in it (data/jetstream/*/streams/JOURNAL)"
    strange=$( (grep -Ev '^(data|state)/' <<<"$listed"; grep -F '..' <<<"$listed") | head -n 1 || true)
    [ -z "$strange" ] || die 64 "$1: holds '$strange'; allowed is what scripts/backup writes: data/ and state/"
}

# Every file of a tar on standard input: name, mode, owner, and what is in it.
contents() {
    # shellcheck disable=SC2016  # tar's own shell expands these
    tar -xf - --to-command='printf "%s %s %s:%s " "$TAR_FILENAME" "$TAR_MODE" "$TAR_UID" "$TAR_GID"; sha256sum' |
        LC_ALL=C sort
}
