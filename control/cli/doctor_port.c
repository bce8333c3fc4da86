/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Checks of the configuration's ports. What is no kernel interface has few. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "control/cli/doctor_internal.h"
#include "control/cli/doctor_link.h"

enum {
	/* A page of 4 KiB, less headroom (256), the skb's tail (320) and the Ethernet header. */
	MAX_XDP_MTU = 4096 - 256 - 320 - 14,
	SAFE_XDP_MTU = 3046, /* drivers that take less: ice, i40e */
};

const char *doctor_interface(const struct config_port *port)
{
	return port->kind == CONFIG_PORT_INTERFACE ? port->device : NULL;
}

static bool is_there(const struct doctor *doctor, const char *interface)
{
	return doctor_find(doctor, "/sys/class/net/%s", interface) == 0;
}

/* The interface of port @i if it can be asked about, and what was said. NULL: nothing to judge. */
static const char *look(struct doctor *doctor, size_t i, struct doctor_link *link)
{
	const char *interface = doctor_interface(&doctor->config->port[i]);
	int status;

	if (!interface || !is_there(doctor, interface))
		return NULL;
	status = doctor->read_link ? doctor->read_link(interface, link) : -EOPNOTSUPP;
	if (status == 0)
		return interface;
	doctor_report_unknown(doctor, interface, -status);
	return NULL;
}

void doctor_check_port_present(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const struct config_port *port = &doctor->config->port[i];
		bool is_pci = port->kind == CONFIG_PORT_PCI;

		if (port->kind == CONFIG_PORT_VDEV)
			continue;
		if (doctor_find(doctor, is_pci ? "/sys/bus/pci/devices/%s" : "/sys/class/net/%s",
				port->device) == 0)
			doctor_report(doctor, DOCTOR_GOOD, port->device, "is there", NULL, NULL);
		else
			doctor_report(doctor, DOCTOR_FAULT, port->device, "is not there",
				      is_pci ? "a PCI device" : "an interface",
				      "edit dataplane.ports of %s; what there is: %s",
				      doctor->config_file, is_pci ? "lspci -D" : "ip -br link");
	}
}

static void judge_driver(struct doctor *doctor, const char *device)
{
	static const char *const good[] = {"vfio-pci", "uio_pci_generic", "igb_uio", "mlx4_core",
					   "mlx5_core"};
	char driver[64];
	int n_groups = doctor_count(doctor, "", "/sys/kernel/iommu_groups");
	const char *wanted = n_groups > 0 ? "vfio-pci" : "uio_pci_generic";
	int status = doctor_read_link_name(doctor, driver, sizeof(driver),
					   "/sys/bus/pci/devices/%s/driver", device);

	for (size_t i = 0; !status && i < SL_ARRAY_LEN(good); i++)
		if (strcmp(driver, good[i]) == 0) {
			doctor_report(doctor, DOCTOR_GOOD, device, driver, NULL, NULL);
			return;
		}
	doctor_report(doctor, DOCTOR_FAULT, device, status ? "no driver" : driver, wanted,
		      "modprobe %s && dpdk-devbind.py --bind=%s %s", wanted, wanted, device);
}

void doctor_check_port_driver(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const struct config_port *port = &doctor->config->port[i];

		if (port->kind == CONFIG_PORT_PCI &&
		    doctor_find(doctor, "/sys/bus/pci/devices/%s", port->device) == 0)
			judge_driver(doctor, port->device);
	}
}

void doctor_check_port_up(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = doctor_interface(&doctor->config->port[i]);
		char state[32], flags[32];

		if (!interface || !is_there(doctor, interface))
			continue;
		if (doctor_read(doctor, state, sizeof(state), "/sys/class/net/%s/operstate",
				interface) ||
		    doctor_read(doctor, flags, sizeof(flags), "/sys/class/net/%s/flags", interface))
			doctor_report_unknown(doctor, interface, EIO);
		else if (!(strtol(flags, NULL, 16) & 1))
			doctor_report(doctor, DOCTOR_WARNING, interface, "down", "up",
				      "ip link set %s up", interface);
		else if (strcmp(state, "up") != 0 && strcmp(state, "unknown") != 0)
			doctor_report(doctor, DOCTOR_WARNING, interface, state, "a carrier",
				      "ethtool %s (cable, module, the switch's port?)", interface);
		else
			doctor_report(doctor, DOCTOR_GOOD, interface, "up", NULL, NULL);
	}
}

void doctor_check_port_xdp(struct doctor *doctor)
{
	struct doctor_link link;
	char found[96];

	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = look(doctor, i, &link);
		bool is_veth;

		if (!interface)
			continue;
		is_veth = strcmp(link.driver, "veth") == 0;
		(void)snprintf(found, sizeof(found), "driver %s%s",
			       link.driver[0] ? link.driver : "without a name",
			       link.is_native == DOCTOR_NO ? ", no XDP"
			       : link.is_target == DOCTOR_NO && is_veth
				       ? ", takes no frames of a program"
				       : "");
		if (link.xdp_mode == DOCTOR_XDP_GENERIC)
			doctor_report(
				doctor, DOCTOR_WARNING, interface, "a program in generic mode",
				"native mode",
				"sluice-xdp --unload, then start it anew (if the driver has XDP)");
		else if (link.xdp_mode == DOCTOR_XDP_NATIVE)
			doctor_report(doctor, DOCTOR_GOOD, interface, "native", NULL, NULL);
		else if (link.is_native == DOCTOR_NO)
			doctor_report(doctor, DOCTOR_WARNING, interface, found,
				      "a driver with XDP; else generic mode, with GRO off",
				      "ethtool -K %s gro off", interface);
		else if (link.is_target == DOCTOR_NO && is_veth)
			doctor_report(doctor, DOCTOR_NOTE, interface, found, "a peer that polls",
				      "ethtool -K PEER gro on");
		else if (link.is_native == DOCTOR_UNSAID)
			doctor_report(doctor, DOCTOR_UNKNOWN, interface, found,
				      "a kernel that tells (6.3)", NULL);
		else
			doctor_report(doctor, DOCTOR_GOOD, interface, found, NULL, NULL);
	}
}

static void judge_program(struct doctor *doctor, const char *interface, const char *name,
			  const char *found)
{
	static const char balancer[] = "sl_balance", classifier[] = "sl_classify";
	const char *own = doctor_has_engine(doctor, "xdp") ? balancer : classifier;

	if (!name[0])
		doctor_report(doctor, DOCTOR_UNKNOWN, interface, found,
			      "Sluice's own; only root may ask for its name", NULL);
	else if (strcmp(name, own) == 0)
		doctor_report(doctor, DOCTOR_GOOD, interface, found, NULL, NULL);
	else if (strcmp(name, balancer) == 0)
		doctor_report(doctor, DOCTOR_FAULT, interface, found,
			      "none, or that of sluice-dpdk", "sluice-xdp -c %s --unload",
			      doctor->config_file);
	else
		doctor_report(doctor, DOCTOR_FAULT, interface, found, "none, or the engine's own",
			      "ip link set %s xdp off", interface);
}

void doctor_check_port_program(struct doctor *doctor)
{
	struct doctor_link link;
	char found[96];

	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = look(doctor, i, &link);

		if (!interface)
			continue;
		if (link.xdp_mode == DOCTOR_XDP_NONE) {
			doctor_report(doctor, DOCTOR_GOOD, interface, "none", NULL, NULL);
			continue;
		}
		(void)snprintf(found, sizeof(found), "program %u%s%s", link.xdp_id,
			       link.xdp_name[0] ? ", " : "", link.xdp_name);
		judge_program(doctor, interface, link.xdp_name, found);
	}
}

void doctor_check_port_queues(struct doctor *doctor)
{
	bool is_dpdk = doctor_has_engine(doctor, "dpdk");
	bool online[DOCTOR_MAX_CPUS];
	int n_cores = 0;

	(void)!doctor_read_cpus(doctor, online, "/sys/devices/system/cpu/online");
	for (size_t i = 0; i < DOCTOR_MAX_CPUS; i++)
		n_cores += online[i];
	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = doctor_interface(&doctor->config->port[i]);
		int wanted_n = is_dpdk ? (int)doctor->config->n_workers : n_cores;
		char found[64], wanted[64];
		int n;

		if (!interface || !is_there(doctor, interface))
			continue;
		n = doctor_count(doctor, "rx-", "/sys/class/net/%s/queues", interface);
		if (n < 0) {
			doctor_report_unknown(doctor, interface, -n);
			continue;
		}
		(void)snprintf(found, sizeof(found), "%d to receive", n);
		(void)snprintf(wanted, sizeof(wanted), "%d, one for each %s", wanted_n,
			       is_dpdk ? "worker" : "core");
		if (n >= wanted_n)
			doctor_report(doctor, DOCTOR_GOOD, interface, found, wanted, NULL);
		else
			doctor_report(doctor, is_dpdk ? DOCTOR_FAULT : DOCTOR_NOTE, interface,
				      found, wanted, "ethtool -L %s combined %d", interface,
				      wanted_n);
	}
}

void doctor_check_port_rss(struct doctor *doctor)
{
	struct doctor_link link;
	char found[96];

	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = look(doctor, i, &link);

		if (!interface)
			continue;
		(void)snprintf(found, sizeof(found), "%u of %u queues", link.n_spread,
			       link.n_queues);
		if (link.n_queues <= 1)
			doctor_report(doctor, DOCTOR_GOOD, interface,
				      link.n_queues ? "one queue: nothing to spread"
						    : "the driver has no queues to choose from",
				      NULL, NULL);
		else if (link.n_spread == 0)
			doctor_report(doctor, DOCTOR_NOTE, interface, "the driver does not tell",
				      "a NIC with a hash (RSS)", "ethtool -x %s", interface);
		else if (link.n_spread < link.n_queues)
			doctor_report(doctor, DOCTOR_WARNING, interface, found, "all queues",
				      "ethtool -X %s equal %u", interface, link.n_queues);
		else if (link.hashes_udp_ports == DOCTOR_NO || link.hashes_tcp_ports == DOCTOR_NO)
			doctor_report(doctor, DOCTOR_WARNING, interface,
				      link.hashes_tcp_ports == DOCTOR_NO ? "TCP without ports"
									 : "UDP without ports",
				      "addresses and ports",
				      "ethtool -N %s rx-flow-hash %s4 sdfn && ethtool -N %s "
				      "rx-flow-hash %s6 sdfn",
				      interface, link.hashes_tcp_ports == DOCTOR_NO ? "tcp" : "udp",
				      interface,
				      link.hashes_tcp_ports == DOCTOR_NO ? "tcp" : "udp");
		else
			doctor_report(doctor, DOCTOR_GOOD, interface, found, NULL, NULL);
	}
}

void doctor_check_port_mtu(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = doctor_interface(&doctor->config->port[i]);
		char found[32], wanted[64];
		long mtu;

		if (!interface || !is_there(doctor, interface))
			continue;
		if (doctor_read_number(doctor, &mtu, "/sys/class/net/%s/mtu", interface)) {
			doctor_report_unknown(doctor, interface, EIO);
			continue;
		}
		(void)snprintf(found, sizeof(found), "%ld", mtu);
		(void)snprintf(wanted, sizeof(wanted), "%d at most, some drivers %d", MAX_XDP_MTU,
			       SAFE_XDP_MTU);
		if (mtu > MAX_XDP_MTU)
			doctor_report(doctor, DOCTOR_FAULT, interface, found, wanted,
				      "ip link set %s mtu 1500", interface);
		else if (mtu > SAFE_XDP_MTU)
			doctor_report(doctor, DOCTOR_NOTE, interface, found, wanted,
				      "ip link set %s mtu %d", interface, SAFE_XDP_MTU);
		else
			doctor_report(doctor, DOCTOR_GOOD, interface, found, wanted, NULL);
	}
}

void doctor_check_port_lro(struct doctor *doctor)
{
	struct doctor_link link;

	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = look(doctor, i, &link);

		if (!interface)
			continue;
		if (link.has_lro == DOCTOR_YES)
			doctor_report(doctor, DOCTOR_WARNING, interface, "on", "off",
				      "ethtool -K %s lro off rx-gro-hw off", interface);
		else if (link.has_gro == DOCTOR_YES &&
			 (link.is_native == DOCTOR_NO || link.xdp_mode == DOCTOR_XDP_GENERIC))
			doctor_report(doctor, DOCTOR_WARNING, interface,
				      "GRO is on, and XDP generic", "off", "ethtool -K %s gro off",
				      interface);
		else if (link.has_lro == DOCTOR_UNSAID)
			doctor_report_unknown(doctor, interface, EOPNOTSUPP);
		else
			doctor_report(doctor, DOCTOR_GOOD, interface, "off", NULL, NULL);
	}
}

void doctor_check_port_veth(struct doctor *doctor)
{
	struct doctor_link link;

	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = look(doctor, i, &link);

		if (!interface)
			continue;
		if (strcmp(link.driver, "veth") == 0)
			doctor_report(doctor, DOCTOR_NOTE, interface,
				      "a veth; its far ends cannot be asked",
				      "no offload of checksums where clients and backends send",
				      "ethtool -K eth0 tx off (in the namespace of each client and "
				      "backend)");
		else
			doctor_report(doctor, DOCTOR_GOOD, interface, "no veth", NULL, NULL);
	}
}

/* Whether @interface has a VLAN of its own: /proc/net/vlan/config has "eth1.5 | 5 | eth1". */
static bool has_vlan(const struct doctor *doctor, const char *interface)
{
	char text[256], start[32];

	(void)snprintf(start, sizeof(start), "%s.", interface);
	return doctor_read_line(doctor, "/proc/net/vlan/config", start, text, sizeof(text)) == 0;
}

void doctor_check_port_vlan(struct doctor *doctor)
{
	struct doctor_link link;

	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const char *interface = look(doctor, i, &link);

		if (!interface)
			continue;
		if (link.strips_vlan == DOCTOR_YES && has_vlan(doctor, interface))
			doctor_report(doctor, DOCTOR_WARNING, interface,
				      "tags are taken off, and there are VLANs", "rxvlan off",
				      "ethtool -K %s rxvlan off", interface);
		else if (link.strips_vlan == DOCTOR_YES)
			doctor_report(doctor, DOCTOR_GOOD, interface,
				      "tags are taken off, and there is no VLAN", NULL, NULL);
		else if (link.strips_vlan == DOCTOR_NO)
			doctor_report(doctor, DOCTOR_GOOD, interface, "tags stay", NULL, NULL);
		else
			doctor_report_unknown(doctor, interface, EOPNOTSUPP);
	}
}

static void judge_node(struct doctor *doctor, const char *device, long node)
{
	const struct config *config = doctor->config;
	bool cpus[DOCTOR_MAX_CPUS];
	char path[96], found[64], list[256];

	(void)snprintf(path, sizeof(path), "/sys/devices/system/node/node%ld/cpulist", node);
	if (doctor_read_cpus(doctor, cpus, path)) {
		doctor_report_unknown(doctor, device, ENOENT);
		return;
	}
	for (uint32_t i = 0; i < config->n_workers; i++) {
		int core = config->core[i];

		if (core < 0 || core >= DOCTOR_MAX_CPUS || cpus[core])
			continue;
		(void)snprintf(found, sizeof(found), "node %ld, and core %d is not on it", node,
			       core);
		doctor_report(doctor, DOCTOR_WARNING, device, found, "workers on the NIC's node",
			      "edit dataplane.workers of %s, the node's cores are: %s",
			      doctor->config_file, doctor_cpus_text(cpus, list, sizeof(list)));
		return;
	}
	(void)snprintf(found, sizeof(found), "node %ld", node);
	doctor_report(doctor, DOCTOR_GOOD, device, found, NULL, NULL);
}

void doctor_check_port_numa(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->config->n_ports; i++) {
		const struct config_port *port = &doctor->config->port[i];
		bool is_pci = port->kind == CONFIG_PORT_PCI;
		long node;

		if (port->kind == CONFIG_PORT_VDEV ||
		    doctor_read_number(doctor, &node,
				       is_pci ? "/sys/bus/pci/devices/%s/numa_node"
					      : "/sys/class/net/%s/device/numa_node",
				       port->device))
			continue;
		if (node < 0)
			doctor_report(doctor, DOCTOR_GOOD, port->device, "the host has one node",
				      NULL, NULL);
		else
			judge_node(doctor, port->device, node);
	}
}
