#!/usr/bin/env bash
# Builds the container image and probes it, on a machine that cannot pull images.
#
# The base images are made here: Debian's packages (debootstrap), this machine's Rust toolchain, and
# its way to the package registries. `make image` builds on them with buildah. The result then runs
# as an orchestrator would run it: as process 1, as the image's user, with a read-only root and a
# volume for /data.
#
#     sudo tests/image/run.sh [FOLDER]
#
# Needs root, debootstrap, buildah, jq, curl, cargo and network. FOLDER, by default one in target/,
# keeps the base images and the build's layers for the next run. DEBIAN_MIRROR names a mirror other
# than debootstrap's own.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly MAX_BYTES=450000000
# What an orchestrator grants between SIGTERM and SIGKILL by default.
readonly GRACE_SECONDS=30

readonly IMAGE=localhost/polyhead-test
readonly SLIM=localhost/polyhead-test-slim
readonly TOOLS=localhost/polyhead-test-tools

WORK=$(realpath -m "${1:-${CARGO_TARGET_DIR:-target}/image-test}")
readonly WORK

main() {
    [[ $EUID == 0 ]] || fail "needs root, for debootstrap and chroot"
    mkdir -p "$WORK"
    keep_storage_in_work
    trap clean_up EXIT

    step "Base images"
    buildah inspect --type image $SLIM >/dev/null 2>&1 || make_slim_image
    buildah inspect --type image $TOOLS >/dev/null 2>&1 || make_tools_image

    step "make image"
    make image IMAGE=$IMAGE IMAGE_BUILD="buildah build --layers --format docker --isolation chroot --pull=never \
        --build-arg PYTHON_IMAGE=$TOOLS --build-arg RUST_IMAGE=$TOOLS --build-arg BASE_IMAGE=$SLIM"
    mount_image

    step "What is in the image"
    check_size
    check_configuration
    check_files

    step "Running it"
    start
    check_answers
    check_process
    check_stop
    step "Passed"
}

# --- Base images -----------------------------------------------------------------------------------

# Images and containers stay out of the machine's own storage.
keep_storage_in_work() {
    cat >"$WORK/storage.conf" <<CONF
[storage]
driver = "${STORAGE_DRIVER:-overlay}"
graphroot = "$WORK/storage"
runroot = "$WORK/storage-run"
CONF
    export CONTAINERS_STORAGE_CONF=$WORK/storage.conf
}

# The counterpart of debian:bookworm-slim.
make_slim_image() {
    debian "$WORK/slim"
    commit "$WORK/slim" $SLIM
}

# The counterpart of rust:bookworm and of python:slim at once.
make_tools_image() {
    local root=$WORK/tools sysroot
    sysroot=$(rustc --print sysroot)
    debian "$root" gcc,libc6-dev,ca-certificates,python3,python3-pip
    mkdir -p "$root/usr/local/cargo"
    cp -r "$sysroot/bin" "$sysroot/lib" "$root/usr/local/"

    # This machine's way to the registries; none of it reaches the image that is built.
    local file
    cp --dereference "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" \
        "$root/etc/ssl/certs/ca-certificates.crt"
    for file in /etc/pip.conf ~/.config/pip/pip.conf; do
        if [[ -f $file ]]; then cp "$file" "$root/etc/pip.conf"; fi
    done
    file=${CARGO_HOME:-$HOME/.cargo}/config.toml
    if [[ -f $file ]]; then cp "$file" "$root/usr/local/cargo/"; fi
    local settings=(--env CARGO_HOME=/usr/local/cargo) name
    for name in $(compgen -e); do
        case $name in
            PIP_* | CARGO_HTTP_* | CARGO_NET_* | CARGO_REGISTR* | CARGO_SOURCE_* | *_proxy | *_PROXY)
                settings+=(--env "$name=${!name}") ;;
        esac
    done
    commit "$root" $TOOLS "${settings[@]}"
}

# debian FOLDER [PACKAGES]: a minimal Debian, with the leavings of its installation removed.
debian() {
    local folder=$1 packages=${2:-}
    mkdir -p "$WORK/packages"
    rm -rf "$folder"
    debootstrap --variant=minbase --cache-dir="$WORK/packages" ${packages:+--include="$packages"} \
        bookworm "$folder" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
    rm -rf "$folder"/usr/share/{doc,info,locale,man}/* "$folder"/var/{cache,log}/* \
        "$folder"/var/lib/apt/lists/* "$folder"/etc/{hostname,resolv.conf}
}

# commit FOLDER IMAGE [SETTINGS]: an image of one layer out of a folder, which is used up.
commit() {
    local folder=$1 image=$2 container
    shift 2
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$folder" / >/dev/null
    buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@" "$container"
    buildah commit --quiet "$container" "$image" >/dev/null
    buildah rm "$container" >/dev/null
    rm -rf "$folder"
}

# --- What is in the image --------------------------------------------------------------------------

mount_image() {
    ROOT=$(buildah mount "$(buildah from --pull-never $IMAGE)")
    CONFIG=$(buildah inspect --type image $IMAGE | jq .Docker.config)
    # How to enter it: its root, user, environment and working directory; a command follows.
    local environment
    mapfile -t environment < <(jq --raw-output '.Env[]' <<<"$CONFIG")
    INSIDE=(chroot --userspec="$(setting .User)" --groups= "$ROOT"
        env --ignore-environment --chdir="$(setting .WorkingDir)" "${environment[@]}")
}

check_size() {
    local bytes
    bytes=$(du --summarize --bytes --one-file-system "$ROOT" | cut -f1)
    say "$bytes bytes"
    ((bytes < MAX_BYTES)) || fail "the image has $bytes bytes, the limit is $MAX_BYTES"
}

check_configuration() {
    expect '.User' '"10001:10001"'
    expect '.Entrypoint' '["polyhead"]'
    expect '.Cmd' '["serve","--config","/etc/polyhead/config.toml"]'
    expect '.Healthcheck.Test' '["CMD","polyhead","health"]'
    expect '.StopSignal' '"SIGTERM"'
    expect '.Volumes | keys' '["/data"]'
    expect '.ExposedPorts | keys' '["8080/tcp"]'
    expect '.Env | index("ORT_DISABLE_TELEMETRY=1") != null' true
    expect '.Labels["org.opencontainers.image.licenses"]' '"Apache-2.0"'
}

# expect FILTER VALUE: what the image's configuration says.
expect() {
    local found
    found=$(jq --compact-output "$1" <<<"$CONFIG")
    [[ $found == "$2" ]] || fail "$1 of the image is $found, expected $2"
    say "$1 = $2"
}

setting() {
    jq --raw-output "$1" <<<"$CONFIG"
}

# Compares with the base image: nothing is there that has no business there.
check_files() {
    local slim added
    slim=$(buildah from --pull-never $SLIM)
    added=$(comm -13 <(files_of "$(buildah mount "$slim")") <(files_of "$ROOT"))
    buildah rm "$slim" >/dev/null
    local wanted=(
        usr/local/bin/polyhead etc/polyhead/config.toml opt/polyhead/LICENSE
        opt/polyhead/lib/libonnxruntime.so opt/polyhead/lib/LICENSE
        opt/polyhead/models/all-MiniLM-L6-v2/model.safetensors
        opt/polyhead/models/bge-small-en-v1.5/model.onnx
    )
    local file
    for file in "${wanted[@]}"; do
        grep -qxF "./$file" <<<"$added" || fail "$file is missing"
    done
    # The rest: small files of the models and of the library, and useradd's in /etc.
    local rest
    rest=$(grep -vxE \
        -e './opt/polyhead/(lib|models/all-MiniLM-L6-v2|models/bge-small-en-v1.5)/.*' \
        -e './etc/(passwd|group|shadow|gshadow|subuid|subgid)-?' \
        <<<"$added" | grep -vxF "$(printf './%s\n' "${wanted[@]}")") || true
    [[ -z $rest ]] || fail "not expected in the image: $rest"
    # Nothing that the user who serves could change, but /data.
    rest=$(find "$ROOT" -xdev -uid "$(setting '.User | split(":")[0]')" -printf '/%P ')
    [[ $rest == "/data " ]] || fail "owned by the image's user, expected /data only: $rest"
}

# Empty files are left out: the builder leaves some where it mounts its own, such as etc/hosts.
files_of() {
    (cd "$1" && find . -xdev ! -type d ! -empty | sort)
}

# --- Running it ------------------------------------------------------------------------------------

# As a container: namespaces of its own, so that it is process 1; all read-only but /data and /tmp.
# The network stays the machine's.
start() {
    local port command
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    URL=http://127.0.0.1:$port
    mapfile -t command < <(jq --raw-output '(.Entrypoint + .Cmd)[]' <<<"$CONFIG")
    rm -rf "$WORK/data"
    cp -a "$ROOT/data" "$WORK/data" # what an engine does with a new volume
    unshare --mount --pid --fork bash -euc '
        root=$1 data=$2
        shift 2
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/tmp"
        mount --bind "$data" "$root/data"
        exec "$@"
    ' - "$ROOT" "$WORK/data" "${INSIDE[@]}" POLYHEAD__SERVER__LISTEN="127.0.0.1:$port" \
        "${command[@]}" &>"$WORK/server.log" &
    SERVER=$!
    curl --silent --fail --output /dev/null --retry 60 --retry-delay 1 \
        --retry-all-errors "$URL/readyz" || fail "not ready after a minute"
    say "ready on $URL"
}

check_answers() {
    local path model dimensions
    for path in /livez /readyz; do
        curl --silent --show-error --fail --output /dev/null "$URL$path" || fail "$path"
        say "$path answers"
    done
    for model in minilm bert; do
        dimensions=$(curl --silent --show-error --fail --json \
            "{\"inputs\": [\"This is extremely fun.\"], \"model\": \"$model\"}" "$URL/embed" |
            jq 'if (.[0] | map(. * .) | add | sqrt - 1 | fabs) < 0.001 then map(length) else . end' -c)
        [[ $dimensions == "[384]" ]] || fail "/embed of $model, not one vector of 384 and length 1: $dimensions"
        say "/embed of $model gives a vector of 384 numbers and length 1"
    done
    health || fail "polyhead health fails while the server is ready"
    say "polyhead health is content"
}

# The image's health check, for the port in use here.
health() {
    local check
    mapfile -t check < <(jq --raw-output '.Healthcheck.Test[1:][]' <<<"$CONFIG")
    "${INSIDE[@]}" "${check[@]}" --url "$URL/readyz" >/dev/null 2>&1
}

check_process() {
    local process wanted
    process=$(pgrep --parent "$SERVER")
    for wanted in "Uid: 10001 10001 10001 10001" "Gid: 10001 10001 10001 10001" \
        "CapEff: 0000000000000000" "NSpid: $process 1"; do
        tr '\t' ' ' <"/proc/$process/status" | grep -qx "$wanted" ||
            fail "the process should have $wanted: $(grep "^${wanted%%:*}" "/proc/$process/status")"
        say "$wanted"
    done
    [[ $(stat --format=%u "$WORK/data/polyhead.db") == 10001 ]] || fail "no store in /data"
    say "the store is in /data"
}

check_stop() {
    local begin=$SECONDS status=0
    kill -TERM "$(pgrep --parent "$SERVER")"
    timeout "$GRACE_SECONDS" tail --pid="$SERVER" --follow /dev/null ||
        fail "still running $GRACE_SECONDS s after SIGTERM"
    wait "$SERVER" || status=$?
    [[ $status == 0 ]] || fail "exit status $status after SIGTERM"
    SERVER=
    say "SIGTERM: exit 0 after $((SECONDS - begin)) s"
    ! health || fail "polyhead health is content with a server that is gone"
    say "polyhead health fails once the server is gone"
}

# --- Reporting -------------------------------------------------------------------------------------

step() {
    echo "== $*"
}

say() {
    echo "   $*"
}

fail() {
    echo "FAILED: $*" >&2
    if [[ -n ${SERVER:-} ]]; then tail --lines=40 "$WORK/server.log" >&2; fi
    exit 1
}

clean_up() {
    if [[ -n ${SERVER:-} ]]; then
        pkill -KILL --parent "$SERVER" || true
        wait "$SERVER" 2>/dev/null || true
    fi
    buildah rm --all >/dev/null 2>&1 || true
}

main
