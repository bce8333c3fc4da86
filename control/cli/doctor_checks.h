/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * What `sluice doctor` looks at, once, as a list: the functions' declarations, the table that is walked and
 * the table of sluice(1) are made from it. An id is stable: programs compare it. To add a check: a row, and
 * its function in the file of its noun.
 */
#pragma once

enum {
	DOCTOR_FOR_DPDK = 1,
	DOCTOR_FOR_XDP = 2,
	DOCTOR_FOR_BOTH = DOCTOR_FOR_DPDK | DOCTOR_FOR_XDP,
	DOCTOR_FOR_ALL = 4, /* without a configuration as well */
};

/* clang-format off */
/* function, id, of which engine, why it matters: a sentence. */
#define DOCTOR_CHECK_LIST(X) \
	X(config,          "config",                  ALL,  "what a host needs depends on the configuration") \
	X(engine,          "engine",                  BOTH, "the engine that the configuration means on this host decides what else is looked at") \
	X(daemon,          "daemon",                  ALL,  "sluiced takes changes, checks backends and tells the dataplane") \
	X(daemon_step,     "daemon.step",             BOTH, "changes wait until a dataplane is connected and has taken them") \
	X(daemon_engine,   "daemon.engine",           BOTH, "the dataplane that runs is to be the one that the configuration means") \
	X(hugepages,       "hugepages",               DPDK, "DPDK's buffers lie in hugepages: a PCI NIC needs them, everything else is faster with them") \
	X(iommu,           "iommu",                   DPDK, "vfio-pci needs an IOMMU; without one a NIC may write to all memory of the host") \
	X(port_present,    "port.present",            BOTH, "a dataplane does not start without one of its ports") \
	X(port_driver,     "port.driver",             DPDK, "DPDK drives a PCI NIC while a kernel driver that leaves it to user space holds it") \
	X(port_up,         "port.up",                 BOTH, "frames come and go while the link is up and has a carrier") \
	X(port_xdp,        "port.xdp",                BOTH, "where the driver has no XDP of its own, the program runs in generic mode, several times slower") \
	X(port_program,    "port.xdp_program",        BOTH, "an interface has one XDP program: another one has to go before Sluice's can come") \
	X(port_queues,     "port.queues",             BOTH, "one queue is served by one core: DPDK needs a queue for each worker, XDP spreads by them") \
	X(port_rss,        "port.rss",                BOTH, "the NIC spreads flows over its queues by a hash; without ports in it, two hosts share one queue") \
	X(port_mtu,        "port.mtu",                BOTH, "an XDP program takes frames that fit a page; drivers refuse it on links with a larger MTU") \
	X(port_lro,        "port.lro",                BOTH, "frames that the NIC put together cannot be forwarded as they came, and drivers refuse XDP with it") \
	X(port_veth,       "port.veth",               BOTH, "a veth leaves checksums to a card that never comes, and new addresses make them wrong for good") \
	X(port_vlan,       "port.vlan",               BOTH, "a VLAN tag that the NIC takes off is not seen by an XDP program: frames of the VLAN look untagged") \
	X(port_numa,       "port.numa",               DPDK, "a worker on another NUMA node than the NIC fetches each frame across the node boundary") \
	X(kernel_version,  "kernel.version",          BOTH, "the XDP program needs Linux 5.18; 6.1 is the oldest that is tested") \
	X(kernel_bpffs,    "kernel.bpffs",            XDP,  "program, tables and flows outlive sluice-xdp as pins on a bpffs") \
	X(kernel_bpf_jit,  "kernel.bpf_jit",          BOTH, "an XDP program that is interpreted, or hardened against its own author, is several times slower") \
	X(kernel_af_xdp,   "kernel.af_xdp",           DPDK, "DPDK drives kernel interfaces by AF_XDP sockets") \
	X(kernel_tun,      "kernel.tun",              DPDK, "what is no service's goes to the kernel by a TAP") \
	X(kernel_lo,       "kernel.lo_forwarding",    XDP,  "the program asks for routes in the name of lo, and the kernel answers while lo forwards") \
	X(kernel_forward,  "kernel.ip_forward",       BOTH, "with mode snat, what has no mapping leaves untranslated where the kernel forwards") \
	X(kernel_rpfilter, "kernel.rp_filter",        BOTH, "a strict reverse path filter drops what is left to the kernel where the way back is another port") \
	X(kernel_ping,     "kernel.ping_group_range", BOTH, "checks of type icmp use ping sockets, which the kernel allows to this range of groups") \
	X(kernel_ports,    "kernel.port_range",       BOTH, "a connection of the host itself from a service's source and port would be taken for its flow") \
	X(kernel_tracking, "kernel.conntrack",        BOTH, "services are not tracked; when the table is full, the kernel drops what is left to it") \
	X(kernel_thp,      "kernel.thp",              DPDK, "khugepaged may hold up a worker while it puts pages together") \
	X(kernel_balance,  "kernel.numa_balancing",   DPDK, "NUMA balancing unmaps pages to see who uses them, and workers fault") \
	X(cpu_cores,       "cpu.cores",               DPDK, "a worker takes its whole core; the rest of the host needs one, too") \
	X(cpu_isolated,    "cpu.isolated",            DPDK, "on a core that is not isolated other tasks run between a worker's loops, and packets wait") \
	X(cpu_nohz,        "cpu.nohz_full",           DPDK, "the scheduler's tick interrupts a worker up to a thousand times a second") \
	X(cpu_irqbalance,  "cpu.irqbalance",          BOTH, "irqbalance moves interrupts: onto workers' cores, and away from where queues were put") \
	X(cpu_governor,    "cpu.governor",            BOTH, "a core that sleeps or slows down answers late") \
	X(cpu_siblings,    "cpu.siblings",            DPDK, "two workers on the threads of one core share its units and caches") \
	X(clock_source,    "clock.source",            BOTH, "a clock that is read by a system call or from a device costs each look at it") \
	X(clock_tsc,       "clock.tsc",               DPDK, "workers count time by the TSC, which must run at one rate at all times") \
	X(flow_log,        "flow_log",                BOTH, "a dataplane does not start if it cannot open its flow log, whose folder it does not make") \
	X(limit_files,     "limit.files",             BOTH, "each check that runs and each client has a file descriptor of sluiced")
/* clang-format on */

struct doctor;

#define X(function, id, engines, why) void doctor_check_##function(struct doctor *doctor);
DOCTOR_CHECK_LIST(X)
#undef X
