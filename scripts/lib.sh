# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
# shellcheck shell=bash
# What the scripts share: packages by name, the build, waiting without fixed sleeps.

# The main job needs these, the tests these as well.
# shellcheck disable=SC2034
MAIN_PACKAGES="bpftool meson ninja-build gcc libc6-dev clang-14 llvm-14 pkg-config libdpdk-dev dpdk libbpf-dev
libcurl4-openssl-dev libedit-dev libjansson-dev libyaml-dev libevent-dev libmnl-dev libncurses-dev iproute2 ethtool procps curl nginx-light python3"
# shellcheck disable=SC2034  # for scripts/test and scripts/check
TEST_PACKAGES="git chromium haproxy openssl prometheus dpdk-dev libcriterion-dev libclang-rt-14-dev python3-pyte python3-pytest python3-scapy iputils-ping jq nftables
shellcheck tshark cppcheck codespell clang-format-14 mandoc bash-completion qemu-system-x86 busybox-static cpio"
# shellcheck disable=SC2034  # for scripts/bench
BENCH_PACKAGES="git haproxy libnginx-mod-stream nftables python3-matplotlib wrk"

say() {
	printf '%s: %s\n' "${PROGRAM:-sluice}" "$*"
}

die() {
	printf '%s: error: %s\n' "${PROGRAM:-sluice}" "$*" >&2
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "must run as root (namespaces, XDP and packages need it)"
}

POLICY=/usr/sbin/policy-rc.d
POLICY_MARK="# by sluice's scripts, while packages are installed"

# apt_install LOG NAME...: in a subshell, so that its traps replace none of the caller's.
apt_install() (
	log=$1
	shift
	made_policy=
	trap '[ -z "$made_policy" ] || rm -f "$POLICY"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# No service is to be started by the installation of its package. One of ours may be left of a
	# script that was killed.
	if [ ! -e "$POLICY" ] || grep -qxF "$POLICY_MARK" "$POLICY"; then
		made_policy=yes
		printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
		chmod 755 "$POLICY"
	fi
	export DEBIAN_FRONTEND=noninteractive
	{
		apt-cache show "$1" >/dev/null 2>&1 || apt-get update -q
		apt-get install -q -y --no-install-recommends "$@" ||
			{ apt-get update -q && apt-get install -q -y --no-install-recommends "$@"; }
	} >"$log" 2>&1
)

# install_packages NAME...: what is missing, and says what it found.
install_packages() {
	local name log missing=() status=0
	for name in "$@"; do
		if ! dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q ' installed$'; then
			missing+=("$name")
		fi
	done
	if [ ${#missing[@]} = 0 ]; then
		say "packages: all $# are there, nothing installed"
		return
	fi
	say "packages: installing ${missing[*]}"
	log=$(mktemp)
	apt_install "$log" "${missing[@]}" || status=$?
	if [ $status != 0 ]; then
		tail -20 "$log" >&2
		rm -f "$log"
		die "packages: apt-get failed with $status"
	fi
	rm -f "$log"
}

# build_tree DIR [MESON OPTION]...: configures if need be and compiles.
build_tree() {
	local dir=$1 log
	shift
	log=$(mktemp)
	if [ ! -e "$dir/build.ninja" ]; then
		say "build: configuring $dir"
		meson setup "$dir" "$@" >"$log" 2>&1 || { cat "$log" >&2; rm -f "$log"; die "build: meson failed"; }
	fi
	say "build: compiling $dir"
	ninja -C "$dir" >"$log" 2>&1 || { tail -60 "$log" >&2; rm -f "$log"; die "build: compilation failed"; }
	rm -f "$log"
}

# wait_for SECONDS WHAT COMMAND...: polls until the command succeeds, with a line every two seconds.
wait_for() {
	local limit=$1 what=$2 start=$SECONDS last=$SECONDS
	shift 2
	until "$@" >/dev/null 2>&1; do
		if [ $((SECONDS - start)) -ge "$limit" ]; then
			say "waited $limit s for $what: not there" >&2
			return 1
		fi
		if [ $((SECONDS - last)) -ge 2 ]; then
			say "waiting for $what, $((SECONDS - start)) s"
			last=$SECONDS
		fi
		sleep 0.1
	done
}

# stop_pid PID [SECONDS]: TERM, then KILL; returns when it is gone.
stop_pid() {
	local pid=$1 limit=${2:-5} tries
	kill -TERM "$pid" 2>/dev/null || return 0
	for ((tries = 0; tries < limit * 20; tries++)); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.05
	done
	kill -KILL "$pid" 2>/dev/null
	while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
}
