/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Checks of memory, cores, clock and limits. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sluice/limits.h>

#include "config/config.h"
#include "control/cli/doctor_internal.h"

enum {
	DPDK_MEMORY_MB = 320, /* dataplane.memory_mb if it is not given */
	MAX_RUNNING_CHECKS =
		4096, /* of sluiced; each may have a descriptor, and takes half of them */
	FEW_FILES = 1024,
};

/* Memory */

static bool has_pci(const struct config *config)
{
	for (size_t i = 0; i < config->n_ports; i++)
		if (config->port[i].kind == CONFIG_PORT_PCI)
			return true;
	return false;
}

void doctor_check_hugepages(struct doctor *doctor)
{
	const struct config *config = doctor->config;
	bool is_running = doctor_runs(doctor, "dpdk"), must = has_pci(config);
	const char *which = is_running ? "HugePages_Total:" : "HugePages_Free:";
	char text[64], found[96], wanted[96];
	long total, n, kib, needed;

	if (doctor_read_line(doctor, "/proc/meminfo", "HugePages_Total:", text, sizeof(text)) ||
	    (total = atol(text)) < 0 ||
	    doctor_read_line(doctor, "/proc/meminfo", which, text, sizeof(text)) ||
	    (n = atol(text)) < 0 ||
	    doctor_read_line(doctor, "/proc/meminfo", "Hugepagesize:", text, sizeof(text)) ||
	    (kib = atol(text)) <= 0) {
		doctor_report_unknown(doctor, "/proc/meminfo", ENOENT);
		return;
	}
	must |= config->hugepages == CONFIG_HUGEPAGES_ON;
	needed = config->memory_mb ? (long)config->memory_mb : DPDK_MEMORY_MB;
	needed = (needed * 1024 + kib - 1) / kib;
	(void)snprintf(found, sizeof(found), "%ld of %ld KiB %s", n, kib,
		       is_running ? "in all" : "free");
	(void)snprintf(wanted, sizeof(wanted), "%ld, and more for flow tables", needed);
	if (config->hugepages == CONFIG_HUGEPAGES_OFF && !must)
		doctor_report(doctor, DOCTOR_NOTE, "host", found,
			      "dataplane.hugepages is off: none are used", NULL);
	else if (n >= needed)
		doctor_report(doctor, DOCTOR_GOOD, "host", found, wanted, NULL);
	else
		doctor_report(doctor, must ? DOCTOR_FAULT : DOCTOR_WARNING, "host", found, wanted,
			      "sysctl -w vm.nr_hugepages=%ld", total + needed - n);
}

static bool allows_no_iommu(const struct doctor *doctor)
{
	char text[16];

	return doctor_read(doctor, text, sizeof(text),
			   "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode") == 0 &&
	       text[0] == 'Y';
}

static void judge_iommu(struct doctor *doctor, const char *device, bool has_iommu)
{
	static const char mend[] =
		"add intel_iommu=on (AMD: nothing, it is on if the firmware has it) to "
		"GRUB_CMDLINE_LINUX of /etc/default/grub, then: update-grub && reboot";
	char driver[64] = "";

	(void)!doctor_read_link_name(doctor, driver, sizeof(driver),
				     "/sys/bus/pci/devices/%s/driver", device);
	if (has_iommu)
		doctor_report(doctor, DOCTOR_GOOD, device, "on", NULL, NULL);
	else if (strncmp(driver, "uio", 3) == 0 || strncmp(driver, "igb_uio", 7) == 0)
		doctor_report(doctor, DOCTOR_NOTE, device, "off, and the NIC is bound by uio",
			      "on, or a host where the NIC is trusted with all memory", "%s", mend);
	else if (allows_no_iommu(doctor))
		doctor_report(doctor, DOCTOR_WARNING, device, "off, and vfio is told to go without",
			      "on", "%s", mend);
	else
		doctor_report(doctor, DOCTOR_FAULT, device, "off",
			      "on, or the driver uio_pci_generic", "%s", mend);
}

void doctor_check_iommu(struct doctor *doctor)
{
	const struct config *config = doctor->config;
	int n = doctor_count(doctor, "", "/sys/kernel/iommu_groups");

	for (size_t i = 0; i < config->n_ports; i++)
		if (config->port[i].kind == CONFIG_PORT_PCI)
			judge_iommu(doctor, config->port[i].device, n > 0);
}

/* Cores */

/* The cores that the configuration gives to workers. False: it leaves the choice. */
static bool read_workers(const struct config *config, bool cores[DOCTOR_MAX_CPUS])
{
	bool is_given = false;

	memset(cores, 0, DOCTOR_MAX_CPUS * sizeof(cores[0]));
	for (uint32_t i = 0; i < config->n_workers; i++) {
		if (config->core[i] < 0 || config->core[i] >= DOCTOR_MAX_CPUS)
			continue;
		cores[config->core[i]] = true;
		is_given = true;
	}
	return is_given;
}

static size_t count_cpus(const bool cpus[DOCTOR_MAX_CPUS])
{
	size_t n = 0;

	for (size_t i = 0; i < DOCTOR_MAX_CPUS; i++)
		n += cpus[i];
	return n;
}

/* @wanted without @there, into @missing. Returns how many. */
static size_t lacking(const bool wanted[DOCTOR_MAX_CPUS], const bool there[DOCTOR_MAX_CPUS],
		      bool missing[DOCTOR_MAX_CPUS])
{
	for (size_t i = 0; i < DOCTOR_MAX_CPUS; i++)
		missing[i] = wanted[i] && !there[i];
	return count_cpus(missing);
}

void doctor_check_cpu_cores(struct doctor *doctor)
{
	bool online[DOCTOR_MAX_CPUS], workers[DOCTOR_MAX_CPUS], missing[DOCTOR_MAX_CPUS];
	int status = doctor_read_cpus(doctor, online, "/sys/devices/system/cpu/online");
	char found[DOCTOR_TEXT], list[256];
	size_t n_online = count_cpus(online);

	if (status) {
		doctor_report_unknown(doctor, "/sys/devices/system/cpu/online", -status);
		return;
	}
	if (read_workers(doctor->config, workers) && lacking(workers, online, missing)) {
		(void)snprintf(found, sizeof(found), "no core %s",
			       doctor_cpus_text(missing, list, sizeof(list)));
		doctor_report(doctor, DOCTOR_FAULT, "dataplane.workers", found,
			      "cores that are there and online",
			      "edit dataplane.workers of %s, online are: %s", doctor->config_file,
			      doctor_cpus_text(online, list, sizeof(list)));
		return;
	}
	(void)snprintf(found, sizeof(found), "%u of %zu cores", doctor->config->n_workers,
		       n_online);
	if (doctor->config->n_workers >= n_online)
		doctor_report(doctor, DOCTOR_WARNING, "dataplane.workers", found,
			      "one core less than there are", "edit dataplane.workers of %s",
			      doctor->config_file);
	else
		doctor_report(doctor, DOCTOR_GOOD, "dataplane.workers", found, NULL, NULL);
}

/* Of the cores of workers, those that the list at @path lacks; @option is the kernel's for it. */
static void judge_list(struct doctor *doctor, const char *path, const char *option,
		       enum doctor_verdict verdict)
{
	bool workers[DOCTOR_MAX_CPUS], listed[DOCTOR_MAX_CPUS], missing[DOCTOR_MAX_CPUS];
	char found[DOCTOR_TEXT], wanted[DOCTOR_TEXT], list[256];
	bool is_given = read_workers(doctor->config, workers);
	int status = doctor_read_cpus(doctor, listed, path);

	if (status && status != -ENOENT) {
		doctor_report_unknown(doctor, path, -status);
	} else if (!is_given) {
		doctor_report(doctor, DOCTOR_NOTE, "dataplane.workers",
			      "sluice-dpdk chooses the cores", "a list of cores that are isolated",
			      "in %s: workers: [2, 3] in place of a number, then %s=2,3 on the "
			      "kernel's command line",
			      doctor->config_file, option);
	} else if (lacking(workers, listed, missing) == 0) {
		doctor_report(doctor, DOCTOR_GOOD, "dataplane.workers", "every worker's core", NULL,
			      NULL);
	} else {
		(void)snprintf(found, sizeof(found), "not of core %s",
			       doctor_cpus_text(missing, list, sizeof(list)));
		(void)snprintf(wanted, sizeof(wanted), "of core %s",
			       doctor_cpus_text(workers, list, sizeof(list)));
		doctor_report(doctor, verdict, "dataplane.workers", found, wanted,
			      "add %s=%s to GRUB_CMDLINE_LINUX of /etc/default/grub, then: "
			      "update-grub && reboot",
			      option, list);
	}
}

void doctor_check_cpu_isolated(struct doctor *doctor)
{
	judge_list(doctor, "/sys/devices/system/cpu/isolated", "isolcpus", DOCTOR_WARNING);
}

void doctor_check_cpu_nohz(struct doctor *doctor)
{
	judge_list(doctor, "/sys/devices/system/cpu/nohz_full", "nohz_full", DOCTOR_NOTE);
}

void doctor_check_cpu_irqbalance(struct doctor *doctor)
{
	bool workers[DOCTOR_MAX_CPUS], isolated[DOCTOR_MAX_CPUS], missing[DOCTOR_MAX_CPUS];
	int process = doctor_find_process(doctor, "irqbalance");
	char found[64], list[256];
	bool is_dpdk = doctor_has_engine(doctor, "dpdk");

	if (process < 0) {
		doctor_report_unknown(doctor, "/proc", -process);
		return;
	}
	if (process == 0) {
		doctor_report(doctor, DOCTOR_GOOD, "irqbalance", "does not run", NULL, NULL);
		return;
	}
	(void)snprintf(found, sizeof(found), "runs, process %d", process);
	(void)!doctor_read_cpus(doctor, isolated, "/sys/devices/system/cpu/isolated");
	if (!is_dpdk)
		doctor_report(doctor, DOCTOR_NOTE, "irqbalance", found,
			      "not running, if the queues' interrupts are set by hand",
			      "systemctl disable --now irqbalance");
	else if (read_workers(doctor->config, workers) && lacking(workers, isolated, missing) == 0)
		doctor_report(doctor, DOCTOR_GOOD, "irqbalance", found,
			      "it leaves isolated cores alone", NULL);
	else
		doctor_report(doctor, DOCTOR_WARNING, "irqbalance", found,
			      "not running, or kept off the workers' cores",
			      "echo IRQBALANCE_BANNED_CPULIST=%s >>/etc/default/irqbalance && "
			      "systemctl restart irqbalance",
			      count_cpus(workers) ? doctor_cpus_text(workers, list, sizeof(list))
						  : "CORES");
}

void doctor_check_cpu_governor(struct doctor *doctor)
{
	bool online[DOCTOR_MAX_CPUS], workers[DOCTOR_MAX_CPUS];
	bool is_given = doctor_has_engine(doctor, "dpdk") && read_workers(doctor->config, workers);
	char governor[32], found[64] = "", object[64];
	enum doctor_verdict verdict = DOCTOR_GOOD;

	(void)!doctor_read_cpus(doctor, online, "/sys/devices/system/cpu/online");
	(void)snprintf(object, sizeof(object), "cores");
	for (int i = 0; i < DOCTOR_MAX_CPUS && verdict != DOCTOR_WARNING; i++) {
		bool is_bad;

		if (!(is_given ? workers : online)[i] ||
		    doctor_read(doctor, governor, sizeof(governor),
				"/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor", i))
			continue;
		is_bad = strcmp(governor, "performance") != 0;
		if (is_bad || !found[0])
			(void)snprintf(found, sizeof(found), "%s", governor);
		if (!is_bad)
			continue;
		(void)snprintf(object, sizeof(object), "core %d", i);
		verdict = strcmp(governor, "powersave") == 0 ? DOCTOR_WARNING : DOCTOR_NOTE;
	}
	if (verdict == DOCTOR_GOOD)
		doctor_report(doctor, verdict, object,
			      found[0] ? found : "the kernel does not change their speed", NULL,
			      NULL);
	else
		doctor_report(doctor, verdict, object, found, "performance",
			      "cpupower frequency-set -g performance");
}

void doctor_check_cpu_siblings(struct doctor *doctor)
{
	bool workers[DOCTOR_MAX_CPUS], threads[DOCTOR_MAX_CPUS];
	char text[256], found[DOCTOR_TEXT];

	if (!read_workers(doctor->config, workers))
		return;
	for (int i = 0; i < DOCTOR_MAX_CPUS; i++) {
		if (!workers[i] ||
		    doctor_read(doctor, text, sizeof(text),
				"/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i))
			continue;
		doctor_parse_cpus(text, threads);
		for (int k = 0; k < DOCTOR_MAX_CPUS; k++)
			threads[k] &= workers[k];
		if (count_cpus(threads) < 2)
			continue;
		(void)snprintf(found, sizeof(found), "%s are threads of one core",
			       doctor_cpus_text(threads, text, sizeof(text)));
		doctor_report(doctor, DOCTOR_WARNING, "dataplane.workers", found,
			      "one thread of each core", "edit dataplane.workers of %s",
			      doctor->config_file);
		return;
	}
	doctor_report(doctor, DOCTOR_GOOD, "dataplane.workers", "one thread of each core", NULL,
		      NULL);
}

/* Clock */

void doctor_check_clock_source(struct doctor *doctor)
{
	static const char folder[] = "/sys/devices/system/clocksource/clocksource0";
	static const char *const fast[] = {
		"tsc",      "kvm-clock",        "arch_sys_counter", "hyperv_clocksource_tsc_page",
		"timebase", "riscv_clocksource"};
	char text[64], there[256] = "";
	int status = doctor_read(doctor, text, sizeof(text), "%s/current_clocksource", folder);

	if (status) {
		doctor_report_unknown(doctor, folder, -status);
		return;
	}
	for (size_t i = 0; i < SL_ARRAY_LEN(fast); i++)
		if (strcmp(text, fast[i]) == 0) {
			doctor_report(doctor, DOCTOR_GOOD, "host", text, NULL, NULL);
			return;
		}
	(void)!doctor_read(doctor, there, sizeof(there), "%s/available_clocksource", folder);
	if (strstr(there, "tsc"))
		doctor_report(doctor, DOCTOR_WARNING, "host", text, "tsc",
			      "echo tsc >%s/current_clocksource", folder);
	else
		doctor_report(doctor, DOCTOR_WARNING, "host", text, "tsc",
			      "dmesg | grep -i tsc (the kernel says why it does not trust it)");
}

void doctor_check_clock_tsc(struct doctor *doctor)
{
	char flags[4096];
	int status = doctor_read_line(doctor, "/proc/cpuinfo", "flags", flags, sizeof(flags));

	if (status) /* no x86: the counter of other CPUs runs at one rate */
		doctor_report(doctor, DOCTOR_GOOD, "host", "no x86, or its flags are not shown",
			      NULL, NULL);
	else if (strstr(flags, "constant_tsc") && strstr(flags, "nonstop_tsc"))
		doctor_report(doctor, DOCTOR_GOOD, "host", "constant and nonstop", NULL, NULL);
	else
		doctor_report(doctor, DOCTOR_WARNING, "host",
			      strstr(flags, "constant_tsc") ? "constant, and stops in deep sleep"
							    : "changes with the core's speed",
			      "constant_tsc and nonstop_tsc of /proc/cpuinfo",
			      "have the hypervisor show an invariant TSC (qemu: -cpu "
			      "host,+invtsc), or take engine: xdp in %s",
			      doctor->config_file);
}

/* Limits */

void doctor_check_flow_log(struct doctor *doctor)
{
	const char *file = doctor->config->flow_log;
	const char *slash = strrchr(file, '/'); /* the path is absolute, if there is one */
	char folder[CONFIG_MAX_PATH];

	if (!slash)
		return;
	(void)snprintf(folder, sizeof(folder), "%.*s", slash == file ? 1 : (int)(slash - file),
		       file);
	if (doctor_find(doctor, "%s", folder) == 0)
		doctor_report(doctor, DOCTOR_GOOD, folder, "is there", NULL, NULL);
	else
		doctor_report(doctor, DOCTOR_FAULT, folder, "is not there",
			      "the folder of dataplane.flow_log", "install -d -m 0750 %s", folder);
}

void doctor_check_limit_files(struct doctor *doctor)
{
	int process = doctor_find_process(doctor, "sluiced");
	char path[64], text[128], found[96], wanted[64];
	size_t n_checked = 0, needed;
	unsigned long hard;
	int status;

	for (size_t i = 0; i < doctor->config->n_services; i++)
		if (doctor->config->service[i].check.type != HEALTH_CHECK_NONE)
			n_checked += doctor->config->service[i].n_backends;
	needed = 2 * (n_checked < MAX_RUNNING_CHECKS ? n_checked : MAX_RUNNING_CHECKS);
	if (needed < FEW_FILES)
		needed = FEW_FILES;
	if (process > 0)
		(void)snprintf(path, sizeof(path), "/proc/%d/limits", process);
	else
		(void)snprintf(path, sizeof(path), "/proc/self/limits");
	status = doctor_read_line(doctor, path, "Max open files", text, sizeof(text));
	if (status || sscanf(text, "%*s %lu", &hard) != 1) {
		doctor_report_unknown(doctor, path, status ? -status : EINVAL);
		return;
	}
	(void)snprintf(found, sizeof(found), "%lu at most%s", hard,
		       process > 0 ? "" : " in this shell");
	(void)snprintf(wanted, sizeof(wanted), "%zu for %zu backends that are checked", needed,
		       n_checked);
	doctor_report(
		doctor, hard >= needed ? DOCTOR_GOOD : DOCTOR_WARNING, "sluiced", found, wanted,
		hard >= needed ? NULL : "systemctl edit sluiced, with: [Service] LimitNOFILE=%zu",
		needed);
}
