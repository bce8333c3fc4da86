/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Checks of the kernel: what it can do, and its sysctls. */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "control/cli/doctor_internal.h"

enum {
	OLDEST_MAJOR = 5,
	OLDEST_MINOR = 18,
	TESTED_MAJOR = 6,
	TESTED_MINOR = 1,
	TRACKING_FULL_PERCENT = 80,
	MAX_NAMED = 3, /* services in one finding */
};

static bool has_interface_ports(const struct config *config)
{
	for (size_t i = 0; i < config->n_ports; i++)
		if (config->port[i].kind == CONFIG_PORT_INTERFACE)
			return true;
	return false;
}

static bool is_older(const int version[2], int major, int minor)
{
	return version[0] < major || (version[0] == major && version[1] < minor);
}

void doctor_check_kernel_version(struct doctor *doctor)
{
	char text[96];
	int version[2];
	int status = doctor_read(doctor, text, sizeof(text), "/proc/sys/kernel/osrelease");

	if (status || sscanf(text, "%d.%d", &version[0], &version[1]) != 2) {
		doctor_report_unknown(doctor, "/proc/sys/kernel/osrelease",
				      status ? -status : EINVAL);
		return;
	}
	if (is_older(version, OLDEST_MAJOR, OLDEST_MINOR) && doctor_has_engine(doctor, "xdp"))
		doctor_report(doctor, DOCTOR_FAULT, "host", text, "5.18 or later",
			      "apt-get install linux-image-amd64 && reboot (Debian 12 has 6.1)");
	else if (is_older(version, TESTED_MAJOR, TESTED_MINOR))
		doctor_report(doctor, DOCTOR_NOTE, "host", text, "6.1 or later",
			      "apt-get install linux-image-amd64 && reboot (Debian 12 has 6.1)");
	else
		doctor_report(doctor, DOCTOR_GOOD, "host", text, NULL, NULL);
}

void doctor_check_kernel_bpffs(struct doctor *doctor)
{
	char text[32];
	int status =
		doctor_read_line(doctor, "/proc/filesystems", "nodev\tbpf", text, sizeof(text));

	if (status == 0)
		doctor_report(doctor, DOCTOR_GOOD, "host", "the kernel has it", NULL, NULL);
	else if (doctor_find(doctor, "/proc/filesystems"))
		doctor_report_unknown(doctor, "/proc/filesystems", ENOENT);
	else
		doctor_report(doctor, DOCTOR_FAULT, "host", "the kernel has none",
			      "CONFIG_BPF_SYSCALL",
			      "apt-get install linux-image-amd64 && reboot (or engine: dpdk)");
}

void doctor_check_kernel_bpf_jit(struct doctor *doctor)
{
	static const char enable[] = "/proc/sys/net/core/bpf_jit_enable";
	static const char harden[] = "/proc/sys/net/core/bpf_jit_harden";
	long value;
	int status;

	if (doctor_has_engine(doctor, "dpdk") && !has_interface_ports(doctor->config))
		return;
	status = doctor_read_number(doctor, &value, "%s", enable);
	if (status)
		doctor_report_unknown(doctor, enable, -status);
	else
		doctor_report(doctor, value ? DOCTOR_GOOD : DOCTOR_WARNING,
			      "net.core.bpf_jit_enable", value ? "on" : "off", "on",
			      value ? NULL : "%s", "sysctl -w net.core.bpf_jit_enable=1");
	status = doctor_read_number(doctor, &value, "%s", harden);
	if (status)
		doctor_report_unknown(doctor, harden, -status);
	else
		doctor_report(
			doctor, value < 2 ? DOCTOR_GOOD : DOCTOR_WARNING, "net.core.bpf_jit_harden",
			value == 0   ? "off"
			: value == 1 ? "1, for others than root"
				     : "2, for root as well",
			"0 or 1", value < 2 ? NULL : "%s", "sysctl -w net.core.bpf_jit_harden=1");
}

void doctor_check_kernel_af_xdp(struct doctor *doctor)
{
	char text[256];
	int status;

	if (!has_interface_ports(doctor->config))
		return;
	status = doctor_read_line(doctor, "/proc/net/protocols", "XDP ", text, sizeof(text));
	if (status == 0)
		doctor_report(doctor, DOCTOR_GOOD, "host", "the kernel has them", NULL, NULL);
	else if (doctor_find(doctor, "/proc/net/protocols"))
		doctor_report_unknown(doctor, "/proc/net/protocols", ENOENT);
	else
		doctor_report(doctor, DOCTOR_FAULT, "host", "the kernel has none",
			      "CONFIG_XDP_SOCKETS",
			      "apt-get install linux-image-amd64 && reboot (or engine: xdp)");
}

void doctor_check_kernel_tun(struct doctor *doctor)
{
	int status = doctor_find(doctor, "/dev/net/tun");

	if (status == 0)
		doctor_report(doctor, DOCTOR_GOOD, "/dev/net/tun", "is there", NULL, NULL);
	else if (status == -ENOENT)
		doctor_report(doctor, DOCTOR_FAULT, "/dev/net/tun", "is not there",
			      "the driver of TAPs", "modprobe tun");
	else
		doctor_report_unknown(doctor, "/dev/net/tun", -status);
}

static void judge_lo(struct doctor *doctor, const char *family)
{
	char object[64];
	long value;
	int status =
		doctor_read_number(doctor, &value, "/proc/sys/net/%s/conf/lo/forwarding", family);

	(void)snprintf(object, sizeof(object), "net.%s.conf.lo.forwarding", family);
	if (status)
		doctor_report_unknown(doctor, object, -status);
	else if (value)
		doctor_report(doctor, DOCTOR_GOOD, object, "1", NULL, NULL);
	else if (doctor_runs(doctor, "xdp"))
		doctor_report(doctor, DOCTOR_FAULT, object, "0", "1, as sluice-xdp set it",
			      "sysctl -w %s=1", object);
	else
		doctor_report(doctor, DOCTOR_GOOD, object, "0; sluice-xdp sets it at its start",
			      NULL, NULL);
}

void doctor_check_kernel_lo(struct doctor *doctor)
{
	judge_lo(doctor, "ipv4");
	judge_lo(doctor, "ipv6");
}

static size_t count_mode(const struct config *config, uint8_t mode)
{
	size_t n = 0;

	for (size_t i = 0; i < config->n_services; i++)
		n += config->service[i].wire.mode == mode;
	return n;
}

void doctor_check_kernel_forward(struct doctor *doctor)
{
	static const char object[] = "net.ipv4.ip_forward";
	long value;
	int status;

	if (count_mode(doctor->config, WIRE_MODE_SNAT) == 0)
		return;
	status = doctor_read_number(doctor, &value, "/proc/sys/net/ipv4/ip_forward");
	if (status)
		doctor_report_unknown(doctor, object, -status);
	else
		doctor_report(doctor, value ? DOCTOR_NOTE : DOCTOR_GOOD, object,
			      value ? "on" : "off", "off, unless something else is routed here",
			      value ? "%s" : NULL, "sysctl -w net.ipv4.ip_forward=0");
}

void doctor_check_kernel_rpfilter(struct doctor *doctor)
{
	long all = 0, own;

	(void)!doctor_read_number(doctor, &all, "/proc/sys/net/ipv4/conf/all/rp_filter");
	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = doctor_interface(&doctor->config->port[i]);
		int status = interface ? doctor_read_number(doctor, &own,
							    "/proc/sys/net/ipv4/conf/%s/rp_filter",
							    interface)
				       : 0;

		if (!interface || status == -ENOENT) /* port.present says so */
			continue;
		if (status)
			doctor_report_unknown(doctor, interface, -status);
		else if ((all > own ? all : own) == 1)
			doctor_report(doctor, DOCTOR_NOTE, interface, "1, strict",
				      "0 or 2 where routes to clients lead elsewhere",
				      "sysctl -w net.ipv4.conf.%s.rp_filter=2", interface);
		else
			doctor_report(doctor, DOCTOR_GOOD, interface,
				      (all > own ? all : own) ? "2, loose" : "0, off", NULL, NULL);
	}
}

/* The group that sluiced has: the one that is configured, else root's. */
static int group_number(const struct config *config, long *number)
{
	const struct group *group = config->group[0] ? getgrnam(config->group) : NULL;

	if (config->group[0] && !group)
		return -ENOENT;
	*number = group ? (long)group->gr_gid : 0;
	return 0;
}

void doctor_check_kernel_ping(struct doctor *doctor)
{
	static const char path[] = "/proc/sys/net/ipv4/ping_group_range";
	const struct config *config = doctor->config;
	char text[64], wanted[96];
	long first, last, group;
	size_t n = 0;
	int status;

	for (size_t i = 0; i < config->n_services; i++)
		n += config->service[i].check.type == HEALTH_CHECK_ICMP;
	if (n == 0)
		return;
	status = doctor_read(doctor, text, sizeof(text), "%s", path);
	if (status || sscanf(text, "%ld %ld", &first, &last) != 2) {
		doctor_report_unknown(doctor, path, status ? -status : EINVAL);
		return;
	}
	if (group_number(config, &group)) {
		doctor_report(doctor, DOCTOR_FAULT, "group", config->group, "a group of this host",
			      "addgroup --system %s", config->group);
		return;
	}
	(void)snprintf(text, sizeof(text), first <= last ? "%ld to %ld" : "nobody (%ld to %ld)",
		       first, last);
	(void)snprintf(wanted, sizeof(wanted), "group %ld in it: %zu service%s so checked", group,
		       n, n == 1 ? " is" : "s are");
	if (group >= first && group <= last)
		doctor_report(doctor, DOCTOR_GOOD, "sluiced", text, wanted, NULL);
	else
		doctor_report(doctor, DOCTOR_FAULT, "sluiced", text, wanted,
			      "sysctl -w net.ipv4.ping_group_range='%ld %ld'",
			      first <= last && first < group ? first : group,
			      first <= last && last > group ? last : group);
}

/* Whether all ports from @first to @last are reserved: a list such as "1024-2000,3000". */
static bool are_reserved(const char *list, long first, long last)
{
	while (first <= last && *list) {
		char *end;
		long low = strtol(list, &end, 10), high = low;

		if (*end == '-')
			high = strtol(end + 1, &end, 10);
		if (low <= first && first <= high)
			first = high + 1; /* the list is in order */
		if (*end != ',')
			break;
		list = end + 1;
	}
	return first > last;
}

void doctor_check_kernel_ports(struct doctor *doctor)
{
	static const char path[] = "/proc/sys/net/ipv4/ip_local_port_range";
	const struct config *config = doctor->config;
	char text[64], reserved[4096] = "", found[DOCTOR_TEXT] = "", wanted[96];
	long first, last, low = 65536, high = 0;
	size_t n = 0, n_pools = 0;
	int status = doctor_read(doctor, text, sizeof(text), "%s", path);

	for (size_t i = 0; i < config->n_services; i++)
		n_pools += config->service[i].wire.n_sources > 0;
	if (n_pools == 0)
		return;
	if (status || sscanf(text, "%ld %ld", &first, &last) != 2) {
		doctor_report_unknown(doctor, path, status ? -status : EINVAL);
		return;
	}
	(void)!doctor_read(doctor, reserved, sizeof(reserved),
			   "/proc/sys/net/ipv4/ip_local_reserved_ports");
	for (size_t i = 0; i < config->n_services; i++) {
		const struct wire_service *service = &config->service[i].wire;
		long from = service->source_port_first > first ? service->source_port_first : first;
		long to = service->source_port_last < last ? service->source_port_last : last;
		size_t used = strlen(found);

		if (service->n_sources == 0 || from > to || are_reserved(reserved, from, to))
			continue;
		if (n++ < MAX_NAMED)
			(void)snprintf(found + used, sizeof(found) - used, "%s%s", used ? ", " : "",
				       service->name);
		low = from < low ? from : low;
		high = to > high ? to : high;
	}
	(void)snprintf(wanted, sizeof(wanted),
		       "source addresses that the host does not use, or other ports than %ld-%ld",
		       first, last);
	if (n == 0) {
		doctor_report(doctor, DOCTOR_GOOD, "services", "no port is in both", NULL, NULL);
		return;
	}
	if (n > MAX_NAMED)
		(void)snprintf(found + strlen(found), sizeof(found) - strlen(found),
			       " and %zu more", n - MAX_NAMED);
	doctor_report(doctor, DOCTOR_NOTE, "services", found, wanted,
		      "sysctl -w net.ipv4.ip_local_port_range='LOW HIGH' outside of %ld-%ld, or "
		      "source_ports of the services in %s",
		      low, high, doctor->config_file);
}

void doctor_check_kernel_tracking(struct doctor *doctor)
{
	long n, limit;
	char found[64];

	if (doctor_read_number(doctor, &limit, "/proc/sys/net/netfilter/nf_conntrack_max") ||
	    doctor_read_number(doctor, &n, "/proc/sys/net/netfilter/nf_conntrack_count")) {
		doctor_report(doctor, DOCTOR_GOOD, "host", "not loaded", NULL, NULL);
		return;
	}
	(void)snprintf(found, sizeof(found), "%ld of %ld connections", n, limit);
	if (n >= limit / 100 * TRACKING_FULL_PERCENT)
		doctor_report(doctor, DOCTOR_WARNING, "host", found, "below 80 %",
			      "sysctl -w net.netfilter.nf_conntrack_max=%ld", 2 * limit);
	else
		doctor_report(doctor, DOCTOR_GOOD, "host", found, "below 80 %", NULL);
}

void doctor_check_kernel_thp(struct doctor *doctor)
{
	static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
	char text[64];
	int status = doctor_read(doctor, text, sizeof(text), "%s", path);

	if (status == -ENOENT)
		doctor_report(doctor, DOCTOR_GOOD, "host", "the kernel has none", NULL, NULL);
	else if (status)
		doctor_report_unknown(doctor, path, -status);
	else
		doctor_report(doctor, strstr(text, "[always]") ? DOCTOR_NOTE : DOCTOR_GOOD, "host",
			      text, "madvise or never",
			      strstr(text, "[always]") ? "echo madvise >%s" : NULL, path);
}

void doctor_check_kernel_balance(struct doctor *doctor)
{
	long value;
	int status = doctor_read_number(doctor, &value, "/proc/sys/kernel/numa_balancing");

	if (status == -ENOENT)
		doctor_report(doctor, DOCTOR_GOOD, "host", "the kernel has none", NULL, NULL);
	else if (status)
		doctor_report_unknown(doctor, "/proc/sys/kernel/numa_balancing", -status);
	else
		doctor_report(doctor, value ? DOCTOR_WARNING : DOCTOR_GOOD, "host",
			      value ? "on" : "off", "off", value ? "%s" : NULL,
			      "sysctl -w kernel.numa_balancing=0");
}
