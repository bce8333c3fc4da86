/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * control/cli/doctor*.c: each check against a made-up /proc and /sys, as a healthy host has it and with one
 * thing amiss. Interfaces are described by the test, in place of ethtool and netlink.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config.h"
#include "config/engine_choice.h"
#include "control/cli/doctor.h"
#include "control/cli/doctor_internal.h"
#include "control/cli/doctor_link.h"

enum {
	MAX_FILES = 4,
};

static char root[64];
static struct doctor_link link_of_test;
static int link_status;

static void put(const char *path, const char *text)
{
	char full[512];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *slash = strchr(full + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(full, 0755);
		*slash = '/';
	}
	(void)unlink(full);
	if (strncmp(text, "-> ", 3) == 0) {
		cr_assert_eq(symlink(text + 3, full), 0, "%s", full);
		return;
	}
	file = fopen(full, "w");
	cr_assert(file, "%s: %s", full, strerror(errno));
	fputs(text, file);
	fclose(file);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
	(void)status;
	(void)type;
	(void)place;
	return remove(path);
}

static void take_away(const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", root, path);
	(void)nftw(full, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A host that is all that either engine may want. */
static void make_host(void)
{
	static const char *const files[][2] = {
		{"/proc/meminfo",
		 "MemTotal: 1 kB\nHugePages_Total:     512\nHugePages_Free:      512\n"
		 "Hugepagesize:       2048 kB\n"},
		{"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0\n"},
		{"/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"},
		{"/sys/kernel/iommu_groups/0/type", "DMA\n"},
		{"/sys/bus/pci/devices/0000:03:00.0/driver", "-> ../../drivers/vfio-pci"},
		{"/sys/bus/pci/devices/0000:03:00.0/numa_node", "0\n"},
		{"/sys/devices/system/node/node0/cpulist", "0-3\n"},
		{"/sys/class/net/eth1/operstate", "up\n"},
		{"/sys/class/net/eth1/flags", "0x1003\n"},
		{"/sys/class/net/eth1/mtu", "1500\n"},
		{"/sys/class/net/eth1/queues/rx-0/x", ""},
		{"/sys/class/net/eth1/queues/rx-1/x", ""},
		{"/sys/class/net/eth1/queues/rx-2/x", ""},
		{"/sys/class/net/eth1/queues/rx-3/x", ""},
		{"/sys/class/net/eth1/queues/tx-0/x", ""},
		{"/sys/devices/system/cpu/online", "0-3\n"},
		{"/sys/devices/system/cpu/isolated", "2-3\n"},
		{"/sys/devices/system/cpu/nohz_full", "2-3\n"},
		{"/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance\n"},
		{"/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance\n"},
		{"/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2\n"},
		{"/sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"},
		{"/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"},
		{"/sys/devices/system/clocksource/clocksource0/available_clocksource",
		 "tsc hpet acpi_pm\n"},
		{"/proc/cpuinfo", "processor : 0\nflags\t\t: fpu constant_tsc nonstop_tsc avx2\n"},
		{"/proc/1/comm", "init\n"},
		{"/proc/self/limits", "Limit  Soft  Hard  Units\n"
				      "Max open files            1024  524288  files\n"},
		{"/proc/sys/kernel/osrelease", "6.1.0-28-amd64\n"},
		{"/proc/sys/kernel/numa_balancing", "0\n"},
		{"/proc/filesystems", "nodev\tproc\nnodev\tbpf\n\text4\n"},
		{"/proc/net/protocols", "protocol  size\nXDP       960      0\n"},
		{"/dev/net/tun", ""},
		{"/proc/sys/net/core/bpf_jit_enable", "1\n"},
		{"/proc/sys/net/core/bpf_jit_harden", "0\n"},
		{"/proc/sys/net/ipv4/ip_forward", "0\n"},
		{"/proc/sys/net/ipv4/conf/lo/forwarding", "1\n"},
		{"/proc/sys/net/ipv6/conf/lo/forwarding", "1\n"},
		{"/proc/sys/net/ipv4/conf/all/rp_filter", "0\n"},
		{"/proc/sys/net/ipv4/conf/eth1/rp_filter", "2\n"},
		{"/proc/sys/net/ipv4/ping_group_range", "0\t2147483647\n"},
		{"/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"},
		{"/proc/sys/net/ipv4/ip_local_reserved_ports", "\n"},
	};

	(void)snprintf(root, sizeof(root), "/tmp/sluice-doctor-XXXXXX");
	cr_assert(mkdtemp(root));
	for (size_t i = 0; i < SL_ARRAY_LEN(files); i++)
		put(files[i][0], files[i][1]);
	link_status = 0;
	link_of_test = (struct doctor_link){
		.driver = "ice",
		.is_native = DOCTOR_YES,
		.is_target = DOCTOR_YES,
		.has_lro = DOCTOR_NO,
		.has_gro = DOCTOR_YES,
		.strips_vlan = DOCTOR_NO,
		.hashes_tcp_ports = DOCTOR_YES,
		.hashes_udp_ports = DOCTOR_YES,
		.n_queues = 4,
		.n_max_queues = 8,
		.n_spread = 4,
	};
}

static void remove_host(void)
{
	take_away("");
}

TestSuite(doctor, .init = make_host, .fini = remove_host);

static int read_test_link(const char *name, struct doctor_link *link)
{
	(void)name;
	*link = link_of_test;
	return link_status;
}

/* The findings on a host with the configuration @text, and what sluiced says of it; a new reference. */
static json_t *examine(const char *text, const json_t *status)
{
	struct config_problems problems = {0};
	struct config *config = NULL;
	char folder[128];
	struct doctor doctor = {
		.root = root,
		.config_file = "sluice.yaml",
		.socket = "control.sock",
		.daemon_reason = "connect: refused",
		.read_link = read_test_link,
		.status = status,
		.findings = json_array(),
	};

	cr_assert_eq(config_load_text("sluice.yaml", text, strlen(text), &config, &problems), 0,
		     "%s", problems.problem[0].text);
	doctor.config = config;
	snprintf(folder, sizeof(folder), "%s/sys/kernel/mm/hugepages", root);
	doctor.engine =
		engine_choose(config, folder, doctor.engine_reason, sizeof(doctor.engine_reason));
	doctor_examine(&doctor);
	config_free(config);
	return doctor.findings;
}

static const char *text_of(const json_t *finding, const char *name)
{
	const char *text = json_string_value(json_object_get(finding, name));

	return text ? text : "";
}

/* The finding of @check on @object ("": whichever) that is worst in the order of the list @verdicts. */
static const json_t *find(const json_t *findings, const char *check, const char *object)
{
	const json_t *finding, *found = NULL;
	size_t i;

	json_array_foreach(findings, i, finding)
	{
		if (strcmp(text_of(finding, "check"), check) == 0 &&
		    (!object[0] || strcmp(text_of(finding, "object"), object) == 0) &&
		    (!found || strcmp(text_of(found, "verdict"), "good") == 0))
			found = finding;
	}
	return found;
}

#define PORT_ETH "  ports: [{interface: eth1}]\n"
#define XDP      "dataplane:\n  engine: xdp\n" PORT_ETH
#define PCI      "dataplane:\n  engine: dpdk\n  workers: [2, 3]\n  ports: [{pci: \"0000:03:00.0\"}]\n"
#define AF_XDP   "dataplane:\n  engine: dpdk\n  workers: [2, 3]\n" PORT_ETH
#define FULLNAT                                                                                    \
	"services: [{name: web, address: \"203.0.113.10:80/tcp\", mode: fullnat, "                 \
	"source: [10.0.0.250], backends: [{address: \"10.0.0.2:80\"}]}]\n"
#define PINGED                                                                                     \
	"group: root\nservices: [{name: web, address: \"203.0.113.10:80/tcp\", "                   \
	"check: {type: icmp}, backends: [{address: \"10.0.0.2:80\"}]}]\n"
#define LOGGED "  flow_log: /var/log/sluice/flows.jsonl\n"
#define SNAT   "services: [{name: office, address: 10.0.0.0/16, source: [203.0.113.200]}]\n"

Test(doctor, healthy_host_has_nothing_amiss)
{
	static const char *const configs[] = {XDP, PCI, AF_XDP, XDP SNAT, XDP PINGED};

	for (size_t i = 0; i < SL_ARRAY_LEN(configs); i++) {
		json_t *findings = examine(configs[i], NULL);
		const json_t *finding;
		size_t k;

		cr_expect_gt(json_array_size(findings), 15, "%s", configs[i]);
		json_array_foreach(findings, k, finding)
		{
			bool is_source_port =
				strcmp(text_of(finding, "check"), "kernel.port_range") == 0;

			cr_expect(strcmp(text_of(finding, "verdict"), "good") == 0 ||
					  strcmp(text_of(finding, "check"), "daemon") == 0 ||
					  is_source_port,
				  "%s: %s %s: %s", configs[i], text_of(finding, "verdict"),
				  text_of(finding, "check"), text_of(finding, "found"));
			cr_expect(is_source_port ||
					  json_is_null(json_object_get(finding, "command")) ||
					  strcmp(text_of(finding, "check"), "daemon") == 0,
				  "%s: has a command", text_of(finding, "check"));
		}
		json_decref(findings);
	}
}

/* What is amiss: files that are other than above ("-": not there), and what is found and mended. */
static const struct amiss {
	const char *name, *config, *file[MAX_FILES][2];
	const char *check, *object, *verdict, *found, *command;
} amiss[] = {
	{"no hugepages",
	 PCI,
	 {{"/proc/meminfo", "HugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 2048 kB\n"}},
	 "hugepages",
	 "host",
	 "fault",
	 "0 of 2048 KiB",
	 "sysctl -w vm.nr_hugepages=160"},
	{"hugepages that are taken",
	 PCI,
	 {{"/proc/meminfo", "HugePages_Total: 200\nHugePages_Free: 100\nHugepagesize: 2048 kB\n"}},
	 "hugepages",
	 "host",
	 "fault",
	 "100 of",
	 "sysctl -w vm.nr_hugepages=260"},
	{"no hugepages, and no need",
	 AF_XDP,
	 {{"/proc/meminfo", "HugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 2048 kB\n"}},
	 "hugepages",
	 "host",
	 "warning",
	 "0 of",
	 "sysctl -w vm.nr_hugepages=160"},
	{"hugepages of 1 GiB",
	 PCI,
	 {{"/proc/meminfo", "HugePages_Total: 0\nHugePages_Free: 0\nHugepagesize: 1048576 kB\n"}},
	 "hugepages",
	 "host",
	 "fault",
	 "0 of 1048576",
	 "sysctl -w vm.nr_hugepages=1"},
	{"a configured memory",
	 "dataplane:\n  engine: dpdk\n  memory_mb: 2048\n  ports: [{pci: \"0000:03:00.0\"}]\n",
	 {{NULL, NULL}},
	 "hugepages",
	 "host",
	 "fault",
	 "512 of",
	 "vm.nr_hugepages=1024"},
	{"hugepages off",
	 "dataplane:\n  engine: dpdk\n  hugepages: off\n" PORT_ETH,
	 {{NULL, NULL}},
	 "hugepages",
	 "host",
	 "note",
	 "512 of",
	 ""},
	{"no /proc",
	 PCI,
	 {{"/proc/meminfo", "-"}},
	 "hugepages",
	 "/proc/meminfo",
	 "unknown",
	 "No such file",
	 ""},
	{"IOMMU off",
	 PCI,
	 {{"/sys/kernel/iommu_groups", "-"}},
	 "iommu",
	 "0000:03:00.0",
	 "fault",
	 "off",
	 "intel_iommu=on"},
	{"IOMMU off, and vfio told so",
	 PCI,
	 {{"/sys/kernel/iommu_groups", "-"},
	  {"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y\n"}},
	 "iommu",
	 "0000:03:00.0",
	 "warning",
	 "go without",
	 "intel_iommu=on"},
	{"IOMMU off, under uio",
	 PCI,
	 {{"/sys/kernel/iommu_groups", "-"},
	  {"/sys/bus/pci/devices/0000:03:00.0/driver", "-> ../../drivers/uio_pci_generic"}},
	 "iommu",
	 "0000:03:00.0",
	 "note",
	 "uio",
	 "intel_iommu=on"},
	{"a NIC with the kernel's driver",
	 PCI,
	 {{"/sys/bus/pci/devices/0000:03:00.0/driver", "-> ../../drivers/ixgbe"}},
	 "port.driver",
	 "0000:03:00.0",
	 "fault",
	 "ixgbe",
	 "dpdk-devbind.py --bind=vfio-pci 0000:03:00.0"},
	{"the same without an IOMMU",
	 PCI,
	 {{"/sys/bus/pci/devices/0000:03:00.0/driver", "-> ../../drivers/ixgbe"},
	  {"/sys/kernel/iommu_groups", "-"}},
	 "port.driver",
	 "0000:03:00.0",
	 "fault",
	 "ixgbe",
	 "--bind=uio_pci_generic 0000:03:00.0"},
	{"a NIC without a driver",
	 PCI,
	 {{"/sys/bus/pci/devices/0000:03:00.0/driver", "-"}},
	 "port.driver",
	 "0000:03:00.0",
	 "fault",
	 "no driver",
	 "--bind=vfio-pci"},
	{"a NIC that is not there",
	 PCI,
	 {{"/sys/bus/pci/devices/0000:03:00.0", "-"}},
	 "port.present",
	 "0000:03:00.0",
	 "fault",
	 "is not there",
	 "lspci -D"},
	{"an interface that is not there",
	 XDP,
	 {{"/sys/class/net/eth1", "-"}},
	 "port.present",
	 "eth1",
	 "fault",
	 "is not there",
	 "ip -br link"},
	{"an interface that is down",
	 XDP,
	 {{"/sys/class/net/eth1/flags", "0x1002\n"}},
	 "port.up",
	 "eth1",
	 "warning",
	 "down",
	 "ip link set eth1 up"},
	{"an interface without a carrier",
	 XDP,
	 {{"/sys/class/net/eth1/operstate", "lowerlayerdown\n"}},
	 "port.up",
	 "eth1",
	 "warning",
	 "lowerlayerdown",
	 "ethtool eth1"},
	{"fewer queues than workers",
	 AF_XDP,
	 {{"/sys/class/net/eth1/queues/rx-1", "-"},
	  {"/sys/class/net/eth1/queues/rx-2", "-"},
	  {"/sys/class/net/eth1/queues/rx-3", "-"}},
	 "port.queues",
	 "eth1",
	 "fault",
	 "1 to receive",
	 "ethtool -L eth1 combined 2"},
	{"fewer queues than cores",
	 XDP,
	 {{"/sys/class/net/eth1/queues/rx-3", "-"}},
	 "port.queues",
	 "eth1",
	 "note",
	 "3 to receive",
	 "ethtool -L eth1 combined 4"},
	{"jumbo frames",
	 XDP,
	 {{"/sys/class/net/eth1/mtu", "9000\n"}},
	 "port.mtu",
	 "eth1",
	 "fault",
	 "9000",
	 "ip link set eth1 mtu 1500"},
	{"frames that not every driver takes",
	 XDP,
	 {{"/sys/class/net/eth1/mtu", "3500\n"}},
	 "port.mtu",
	 "eth1",
	 "note",
	 "3500",
	 "ip link set eth1 mtu 3046"},
	{"the largest frames",
	 XDP,
	 {{"/sys/class/net/eth1/mtu", "3507\n"}},
	 "port.mtu",
	 "eth1",
	 "fault",
	 "3507",
	 "mtu 1500"},
	{"a NIC on another node",
	 PCI,
	 {{"/sys/bus/pci/devices/0000:03:00.0/numa_node", "1\n"},
	  {"/sys/devices/system/node/node1/cpulist", "4-7\n"}},
	 "port.numa",
	 "0000:03:00.0",
	 "warning",
	 "core 2 is not on it",
	 "4,5,6,7"},
	{"an old kernel",
	 XDP,
	 {{"/proc/sys/kernel/osrelease", "5.10.0-30-amd64\n"}},
	 "kernel.version",
	 "host",
	 "fault",
	 "5.10",
	 "linux-image-amd64"},
	{"an old kernel under DPDK",
	 PCI,
	 {{"/proc/sys/kernel/osrelease", "5.10.0-30-amd64\n"}},
	 "kernel.version",
	 "host",
	 "note",
	 "5.10",
	 "linux-image-amd64"},
	{"an untested kernel",
	 XDP,
	 {{"/proc/sys/kernel/osrelease", "5.18.0\n"}},
	 "kernel.version",
	 "host",
	 "note",
	 "5.18",
	 "linux-image-amd64"},
	{"no bpffs",
	 XDP,
	 {{"/proc/filesystems", "nodev\tproc\n"}},
	 "kernel.bpffs",
	 "host",
	 "fault",
	 "none",
	 "linux-image-amd64"},
	{"the JIT off",
	 XDP,
	 {{"/proc/sys/net/core/bpf_jit_enable", "0\n"}},
	 "kernel.bpf_jit",
	 "net.core.bpf_jit_enable",
	 "warning",
	 "off",
	 "sysctl -w net.core.bpf_jit_enable=1"},
	{"the JIT hardened",
	 AF_XDP,
	 {{"/proc/sys/net/core/bpf_jit_harden", "2\n"}},
	 "kernel.bpf_jit",
	 "net.core.bpf_jit_harden",
	 "warning",
	 "2",
	 "sysctl -w net.core.bpf_jit_harden=1"},
	{"no AF_XDP",
	 AF_XDP,
	 {{"/proc/net/protocols", "protocol\nUNIX 1\n"}},
	 "kernel.af_xdp",
	 "host",
	 "fault",
	 "none",
	 "engine: xdp"},
	{"no TAP",
	 PCI,
	 {{"/dev/net/tun", "-"}},
	 "kernel.tun",
	 "/dev/net/tun",
	 "fault",
	 "is not there",
	 "modprobe tun"},
	{"lo that does not forward",
	 XDP,
	 {{"/proc/sys/net/ipv6/conf/lo/forwarding", "0\n"}},
	 "kernel.lo_forwarding",
	 "net.ipv6.conf.lo.forwarding",
	 "good",
	 "sets it",
	 ""},
	{"forwarding beside snat",
	 XDP SNAT,
	 {{"/proc/sys/net/ipv4/ip_forward", "1\n"}},
	 "kernel.ip_forward",
	 "net.ipv4.ip_forward",
	 "note",
	 "on",
	 "sysctl -w net.ipv4.ip_forward=0"},
	{"a strict filter",
	 XDP,
	 {{"/proc/sys/net/ipv4/conf/eth1/rp_filter", "1\n"}},
	 "kernel.rp_filter",
	 "eth1",
	 "note",
	 "strict",
	 "sysctl -w net.ipv4.conf.eth1.rp_filter=2"},
	{"a strict filter for all",
	 XDP,
	 {{"/proc/sys/net/ipv4/conf/eth1/rp_filter", "0\n"},
	  {"/proc/sys/net/ipv4/conf/all/rp_filter", "1\n"}},
	 "kernel.rp_filter",
	 "eth1",
	 "note",
	 "strict",
	 "rp_filter=2"},
	{"nobody may ping",
	 XDP PINGED,
	 {{"/proc/sys/net/ipv4/ping_group_range", "1\t0\n"}},
	 "kernel.ping_group_range",
	 "sluiced",
	 "fault",
	 "nobody",
	 "ping_group_range='0 0'"},
	{"others may ping",
	 XDP PINGED,
	 {{"/proc/sys/net/ipv4/ping_group_range", "100\t200\n"}},
	 "kernel.ping_group_range",
	 "sluiced",
	 "fault",
	 "100 to 200",
	 "ping_group_range='0 200'"},
	{"ports that the host uses",
	 XDP FULLNAT,
	 {{NULL, NULL}},
	 "kernel.port_range",
	 "services",
	 "note",
	 "web",
	 "outside of 32768-60999"},
	{"half of them reserved",
	 XDP FULLNAT,
	 {{"/proc/sys/net/ipv4/ip_local_reserved_ports", "32768-50000\n"}},
	 "kernel.port_range",
	 "services",
	 "note",
	 "web",
	 ""},
	{"all of them reserved",
	 XDP FULLNAT,
	 {{"/proc/sys/net/ipv4/ip_local_reserved_ports", "80,1024-40000,40001-65535\n"}},
	 "kernel.port_range",
	 "services",
	 "good",
	 "no port",
	 ""},
	{"conntrack",
	 XDP,
	 {{"/proc/sys/net/netfilter/nf_conntrack_max", "1000\n"},
	  {"/proc/sys/net/netfilter/nf_conntrack_count", "799\n"}},
	 "kernel.conntrack",
	 "host",
	 "good",
	 "799 of 1000",
	 ""},
	{"conntrack, nearly full",
	 XDP,
	 {{"/proc/sys/net/netfilter/nf_conntrack_max", "1000\n"},
	  {"/proc/sys/net/netfilter/nf_conntrack_count", "800\n"}},
	 "kernel.conntrack",
	 "host",
	 "warning",
	 "800 of 1000",
	 "nf_conntrack_max=2000"},
	{"THP always",
	 PCI,
	 {{"/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"}},
	 "kernel.thp",
	 "host",
	 "note",
	 "[always]",
	 "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled"},
	{"NUMA balancing",
	 PCI,
	 {{"/proc/sys/kernel/numa_balancing", "1\n"}},
	 "kernel.numa_balancing",
	 "host",
	 "warning",
	 "on",
	 "sysctl -w kernel.numa_balancing=0"},
	{"a core that is not there",
	 PCI,
	 {{"/sys/devices/system/cpu/online", "0-2\n"}},
	 "cpu.cores",
	 "dataplane.workers",
	 "fault",
	 "no core 3",
	 "online are: 0,1,2"},
	{"all cores for workers",
	 "dataplane:\n  engine: dpdk\n  workers: 4\n" PORT_ETH,
	 {{NULL, NULL}},
	 "cpu.cores",
	 "dataplane.workers",
	 "warning",
	 "4 of 4",
	 "dataplane.workers"},
	{"no core isolated",
	 PCI,
	 {{"/sys/devices/system/cpu/isolated", "\n"}},
	 "cpu.isolated",
	 "dataplane.workers",
	 "warning",
	 "not of core 2,3",
	 "add isolcpus=2,3"},
	{"one core isolated",
	 PCI,
	 {{"/sys/devices/system/cpu/isolated", "1-2\n"}},
	 "cpu.isolated",
	 "dataplane.workers",
	 "warning",
	 "not of core 3",
	 "add isolcpus=2,3"},
	{"cores to be chosen",
	 "dataplane:\n  engine: dpdk\n  workers: 2\n" PORT_ETH,
	 {{NULL, NULL}},
	 "cpu.isolated",
	 "dataplane.workers",
	 "note",
	 "chooses",
	 "workers: [2, 3]"},
	{"a tick",
	 PCI,
	 {{"/sys/devices/system/cpu/nohz_full", "-"}},
	 "cpu.nohz_full",
	 "dataplane.workers",
	 "note",
	 "not of core 2,3",
	 "add nohz_full=2,3"},
	{"irqbalance, and isolated cores",
	 PCI,
	 {{"/proc/77/comm", "irqbalance\n"}},
	 "cpu.irqbalance",
	 "irqbalance",
	 "good",
	 "process 77",
	 ""},
	{"irqbalance",
	 PCI,
	 {{"/proc/77/comm", "irqbalance\n"}, {"/sys/devices/system/cpu/isolated", "\n"}},
	 "cpu.irqbalance",
	 "irqbalance",
	 "warning",
	 "process 77",
	 "IRQBALANCE_BANNED_CPULIST=2,3"},
	{"irqbalance under XDP",
	 XDP,
	 {{"/proc/77/comm", "irqbalance\n"}},
	 "cpu.irqbalance",
	 "irqbalance",
	 "note",
	 "process 77",
	 "systemctl disable --now irqbalance"},
	{"a core that saves power",
	 PCI,
	 {{"/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "powersave\n"}},
	 "cpu.governor",
	 "core 3",
	 "warning",
	 "powersave",
	 "cpupower frequency-set -g performance"},
	{"a core that follows the load",
	 XDP,
	 {{"/sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "schedutil\n"}},
	 "cpu.governor",
	 "core 2",
	 "note",
	 "schedutil",
	 "cpupower"},
	{"threads of one core",
	 PCI,
	 {{"/sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "2-3\n"}},
	 "cpu.siblings",
	 "dataplane.workers",
	 "warning",
	 "2,3",
	 "dataplane.workers"},
	{"a slow clock",
	 XDP,
	 {{"/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"}},
	 "clock.source",
	 "host",
	 "warning",
	 "hpet",
	 "echo tsc >"},
	{"no other clock",
	 XDP,
	 {{"/sys/devices/system/clocksource/clocksource0/current_clocksource", "acpi_pm\n"},
	  {"/sys/devices/system/clocksource/clocksource0/available_clocksource", "acpi_pm\n"}},
	 "clock.source",
	 "host",
	 "warning",
	 "acpi_pm",
	 "dmesg"},
	{"a TSC that stops",
	 PCI,
	 {{"/proc/cpuinfo", "flags : fpu constant_tsc\n"}},
	 "clock.tsc",
	 "host",
	 "warning",
	 "stops",
	 "invtsc"},
	{"few files",
	 XDP,
	 {{"/proc/self/limits", "Max open files            1024  1000  files\n"}},
	 "limit.files",
	 "sluiced",
	 "warning",
	 "1000 at most in this shell",
	 "LimitNOFILE=1024"},
	{"no folder for the flow log",
	 XDP LOGGED,
	 {{"/var/log", "-"}},
	 "flow_log",
	 "/var/log/sluice",
	 "fault",
	 "is not there",
	 "install -d -m 0750 /var/log/sluice"},
	{"few files of the daemon",
	 XDP,
	 {{"/proc/9/comm", "sluiced\n"},
	  {"/proc/9/limits", "Max open files            100  200  files\n"}},
	 "limit.files",
	 "sluiced",
	 "warning",
	 "200 at most",
	 "LimitNOFILE=1024"},
};

Test(doctor, what_is_amiss_is_found_and_has_its_command)
{
	for (size_t i = 0; i < SL_ARRAY_LEN(amiss); i++) {
		const struct amiss *row = &amiss[i];
		const json_t *finding;
		json_t *findings;

		for (size_t k = 0; k < MAX_FILES && row->file[k][0]; k++)
			if (strcmp(row->file[k][1], "-") == 0)
				take_away(row->file[k][0]);
			else
				put(row->file[k][0], row->file[k][1]);
		findings = examine(row->config, NULL);
		finding = find(findings, row->check, row->object);
		cr_assert(finding, "%s: %s says nothing of %s", row->name, row->check, row->object);
		cr_expect_str_eq(text_of(finding, "verdict"), row->verdict, "%s: %s: %s", row->name,
				 text_of(finding, "verdict"), text_of(finding, "found"));
		cr_expect(strstr(text_of(finding, "found"), row->found), "%s: found %s", row->name,
			  text_of(finding, "found"));
		cr_expect(strstr(text_of(finding, "command"), row->command), "%s: command %s",
			  row->name, text_of(finding, "command"));
		json_decref(findings);
		remove_host();
		make_host();
	}
}

/* Interfaces */

static void expect_link(const char *name, const char *config, const char *check,
			const char *verdict, const char *found, const char *command)
{
	json_t *findings = examine(config, NULL);
	const json_t *finding = find(findings, check, "eth1");

	cr_assert(finding, "%s: %s says nothing", name, check);
	cr_expect_str_eq(text_of(finding, "verdict"), verdict, "%s: %s: %s", name,
			 text_of(finding, "verdict"), text_of(finding, "found"));
	cr_expect(strstr(text_of(finding, "found"), found), "%s: found %s", name,
		  text_of(finding, "found"));
	cr_expect(strstr(text_of(finding, "command"), command), "%s: command %s", name,
		  text_of(finding, "command"));
	json_decref(findings);
}

Test(doctor, driver_without_xdp_means_generic_mode)
{
	link_of_test.is_native = DOCTOR_NO;
	expect_link("no XDP", XDP, "port.xdp", "warning", "driver ice, no XDP", "gro off");
	expect_link("no XDP, and GRO", XDP, "port.lro", "warning", "GRO is on", "gro off");
	link_of_test.is_native = DOCTOR_UNSAID;
	expect_link("an older kernel", XDP, "port.xdp", "unknown", "ice", "");
	link_of_test.is_native = DOCTOR_YES;
	link_of_test.xdp_mode = DOCTOR_XDP_GENERIC;
	expect_link("generic mode", XDP, "port.xdp", "warning", "generic", "--unload");
	strcpy(link_of_test.driver, "veth");
	link_of_test.xdp_mode = DOCTOR_XDP_NONE;
	link_of_test.is_target = DOCTOR_NO;
	expect_link("a veth whose peer sleeps", XDP, "port.xdp", "note", "takes no frames",
		    "gro on");
	expect_link("checksums of a veth", XDP, "port.veth", "note", "far ends", "tx off");
	expect_link("the same for AF_XDP", AF_XDP, "port.veth", "note", "far ends", "tx off");
}

Test(doctor, program_of_somebody_else_is_in_the_way)
{
	link_of_test.xdp_mode = DOCTOR_XDP_NATIVE;
	link_of_test.xdp_id = 12;
	expect_link("nobody may ask", XDP, "port.xdp_program", "unknown", "program 12", "");
	strcpy(link_of_test.xdp_name, "xdp_filter");
	expect_link("another's", XDP, "port.xdp_program", "fault", "program 12, xdp_filter",
		    "ip link set eth1 xdp off");
	strcpy(link_of_test.xdp_name, "sl_balance");
	expect_link("Sluice's own", XDP, "port.xdp_program", "good", "sl_balance", "");
	expect_link("the other engine's", AF_XDP, "port.xdp_program", "fault", "sl_balance",
		    "sluice-xdp -c sluice.yaml --unload");
	strcpy(link_of_test.xdp_name, "sl_classify");
	expect_link("DPDK's", AF_XDP, "port.xdp_program", "good", "sl_classify", "");
	expect_link("DPDK's under XDP", XDP, "port.xdp_program", "fault", "sl_classify",
		    "ip link set eth1 xdp off");
}

Test(doctor, offloads_and_rss_are_judged)
{
	link_of_test.has_lro = DOCTOR_YES;
	expect_link("LRO", XDP, "port.lro", "warning", "on", "ethtool -K eth1 lro off");
	link_of_test.n_spread = 2;
	expect_link("half of the queues", XDP, "port.rss", "warning", "2 of 4",
		    "ethtool -X eth1 equal 4");
	link_of_test.n_spread = 0;
	expect_link("no table", XDP, "port.rss", "note", "does not tell", "ethtool -x eth1");
	link_of_test.n_spread = 4;
	link_of_test.hashes_udp_ports = DOCTOR_NO;
	expect_link("UDP", AF_XDP, "port.rss", "warning", "UDP without ports",
		    "ethtool -N eth1 rx-flow-hash udp4 sdfn");
	link_of_test.n_queues = 1;
	expect_link("one queue", XDP, "port.rss", "good", "one queue", "");
	link_of_test.strips_vlan = DOCTOR_YES;
	expect_link("no VLAN", XDP, "port.vlan", "good", "no VLAN", "");
	put("/proc/net/vlan/config", "VLAN Dev name | VLAN ID\neth1.5         | 5  | eth1\n");
	expect_link("a VLAN", XDP, "port.vlan", "warning", "there are VLANs", "rxvlan off");
}

Test(doctor, what_the_kernel_does_not_tell_is_unknown)
{
	static const char *const checks[] = {"port.xdp", "port.xdp_program", "port.rss", "port.lro",
					     "port.vlan"};

	link_status = -EPERM;
	for (size_t i = 0; i < SL_ARRAY_LEN(checks); i++)
		expect_link(checks[i], XDP, checks[i], "unknown", "not permitted", "sudo");
}

/* What sluiced says */

Test(doctor, running_daemon_is_heard)
{
	json_t *status = json_pack("{s:b, s:b, s:s, s:s}", "connected", 1, "in_step", 0, "engine",
				   "xdp", "reason", "refused: too many services");
	json_t *findings;

	put("/proc/sys/net/ipv4/conf/lo/forwarding", "0\n");
	findings = examine(XDP, status);
	cr_expect_str_eq(text_of(find(findings, "daemon", ""), "verdict"), "good");
	cr_expect_str_eq(text_of(find(findings, "daemon.step", ""), "verdict"), "fault");
	cr_expect_str_eq(text_of(find(findings, "daemon.step", ""), "found"),
			 "refused: too many services");
	cr_expect_str_eq(text_of(find(findings, "daemon.engine", ""), "verdict"), "good");
	cr_expect_str_eq(text_of(find(findings, "kernel.lo_forwarding", ""), "verdict"), "fault");
	json_decref(findings);
	findings = examine(PCI, status);
	cr_expect_str_eq(text_of(find(findings, "daemon.engine", ""), "verdict"), "warning");
	json_decref(findings);
	json_decref(status);
}

Test(doctor, running_dpdk_has_taken_its_hugepages)
{
	json_t *status =
		json_pack("{s:b, s:b, s:s}", "connected", 1, "in_step", 1, "engine", "dpdk");
	json_t *findings;

	put("/proc/meminfo", "HugePages_Total: 160\nHugePages_Free: 0\nHugepagesize: 2048 kB\n");
	findings = examine(PCI, status);
	cr_expect_str_eq(text_of(find(findings, "hugepages", ""), "verdict"), "good");
	json_decref(findings);
	json_decref(status);
}

Test(doctor, empty_host_is_no_crash)
{
	static const char *const configs[] = {XDP FULLNAT, PCI PINGED, AF_XDP SNAT};

	remove_host();
	for (size_t i = 0; i < SL_ARRAY_LEN(configs); i++) {
		json_t *findings = examine(configs[i], NULL);

		cr_expect_str_eq(text_of(find(findings, "port.present", ""), "verdict"), "fault");
		json_decref(findings);
	}
}

Test(doctor, lists_of_cores_are_read_as_the_kernel_writes_them)
{
	bool cpus[DOCTOR_MAX_CPUS];
	char text[64];

	doctor_parse_cpus("0-2,8,1022-4000", cpus);
	cr_expect_str_eq(doctor_cpus_text(cpus, text, sizeof(text)), "0,1,2,8,1022,1023");
	doctor_parse_cpus("", cpus);
	cr_expect_str_eq(doctor_cpus_text(cpus, text, sizeof(text)), "");
	doctor_parse_cpus("none", cpus);
	cr_expect_str_eq(doctor_cpus_text(cpus, text, sizeof(text)), "");
}
