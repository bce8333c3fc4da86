# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026 The Sluice authors
# shellcheck shell=bash
# What the scripts share: packages by name, the build, waiting without fixed sleeps.

# The main job needs these, the tests these as well.
# shellcheck disable=SC2034
MAIN_PACKAGES="meson ninja-build gcc libc6-dev clang-14 llvm-14 pkg-config libdpdk-dev dpdk libbpf-dev
libjansson-dev libyaml-dev libevent-dev libmnl-dev iproute2 ethtool procps curl nginx-light python3"
# shellcheck disable=SC2034  # for scripts/test and scripts/check
TEST_PACKAGES="git libcriterion-dev libclang-rt-14-dev python3-pytest python3-scapy iputils-ping jq nftables
shellcheck codespell clang-format-14 mandoc bash-completion"

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

# install_packages NAME...: what is missing, and says what it found.
install_packages() {
	local name missing=() policy=/usr/sbin/policy-rc.d made_policy=""
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
	# No service is to be started by the installation of its package.
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
		made_policy=yes
	fi
	local status=0
	{
		if ! apt-cache show "${missing[0]}" >/dev/null 2>&1; then
			apt-get update -q
		fi
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" ||
			{ apt-get update -q && DEBIAN_FRONTEND=noninteractive \
				apt-get install -q -y --no-install-recommends "${missing[@]}"; }
	} >"${TMPDIR:-/tmp}/sluice-apt.$$" 2>&1 || status=$?
	[ -z "$made_policy" ] || rm -f $policy
	if [ $status != 0 ]; then
		tail -20 "${TMPDIR:-/tmp}/sluice-apt.$$" >&2
		rm -f "${TMPDIR:-/tmp}/sluice-apt.$$"
		die "packages: apt-get failed with $status"
	fi
	rm -f "${TMPDIR:-/tmp}/sluice-apt.$$"
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
