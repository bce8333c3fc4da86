/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Namespace, folder, hugepages: see bench_host.h. */
#include "tests/bench/bench_host.h"

#include <errno.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/stat.h>

#include "tests/bench/bench_report.h"

enum {
	MAX_OPEN_FOLDERS = 16,
	PAGE_MB = 2,
};

#define PAGES_FOLDER "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static long read_long(const char *path)
{
	FILE *file = fopen(path, "re");
	long value = -1;

	if (file == NULL)
		return -1;
	if (fscanf(file, "%ld", &value) != 1)
		value = -1;
	fclose(file);
	return value;
}

static bool write_long(const char *path, long value)
{
	FILE *file = fopen(path, "we");
	bool is_good;

	if (file == NULL)
		return false;
	is_good = fprintf(file, "%ld\n", value) > 0;
	return fclose(file) == 0 && is_good;
}

/* What others take or give meanwhile stays so: only the difference is ours. */
static int pages_open(struct host *host, uint32_t memory_mb)
{
	long n_all = read_long(PAGES_FOLDER "nr_hugepages");
	long n_free = read_long(PAGES_FOLDER "free_hugepages");
	long n_missing = (long)(memory_mb / PAGE_MB) - n_free;

	if (n_all < 0 || n_free < 0) {
		report_error("this kernel has no hugepages of 2 MB");
		return -ENOTSUP;
	}
	if (n_missing <= 0)
		return 0;
	if (write_long(PAGES_FOLDER "nr_hugepages", n_all + n_missing))
		host->n_pages_added = read_long(PAGES_FOLDER "nr_hugepages") - n_all;
	n_free = read_long(PAGES_FOLDER "free_hugepages");
	if (n_free >= (long)(memory_mb / PAGE_MB))
		return 0;
	report_error("%u MB of hugepages are needed, and the kernel gives %ld", memory_mb,
		     n_free * PAGE_MB);
	return -ENOMEM;
}

static void pages_close(struct host *host)
{
	long n_all = read_long(PAGES_FOLDER "nr_hugepages");

	if (host->n_pages_added > 0 && n_all >= host->n_pages_added &&
	    !write_long(PAGES_FOLDER "nr_hugepages", n_all - host->n_pages_added))
		report_error("vm.nr_hugepages stays at %ld", n_all);
	host->n_pages_added = 0;
}

static int folder_open(struct host *host)
{
	char text[sizeof(host->folder)] = "/tmp/sluice-bench-XXXXXX";

	/* sluiced, which is nobody, goes through it. */
	if (mkdtemp(text) == NULL || chmod(text, 0755) != 0) {
		report_error("%s: %s", text, strerror(errno));
		return -EIO;
	}
	memcpy(host->folder, text, sizeof(text));
	return 0;
}

static int remove_one(const char *path, const struct stat *status SL_UNUSED, int type SL_UNUSED,
		      struct FTW *where SL_UNUSED)
{
	return remove(path);
}

int host_open(struct host *host, uint32_t memory_mb)
{
	int status;

	*host = (struct host){0};
	if (geteuid() != 0) {
		report_error("needs root, for a network namespace and hugepages");
		return -EPERM;
	}
	if (unshare(CLONE_NEWNET) != 0) {
		report_error("network namespace: %s", strerror(errno));
		return -errno;
	}
	status = folder_open(host);
	if (status == 0)
		status = pages_open(host, memory_mb);
	return status;
}

void host_close(struct host *host)
{
	pages_close(host);
	if (host->folder[0] != '\0' &&
	    nftw(host->folder, remove_one, MAX_OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0)
		report_error("%s stays: %s", host->folder, strerror(errno));
	host->folder[0] = '\0';
}

int host_choose_cores(int wanted, int *other)
{
	cpu_set_t allowed;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return -errno;
	if (!CPU_ISSET((size_t)wanted, &allowed)) {
		report_error("--cpu: core %d is not one that this process may use", wanted);
		return -EINVAL;
	}
	for (*other = 0; *other < CPU_SETSIZE; (*other)++)
		if (*other != wanted && CPU_ISSET((size_t)*other, &allowed))
			return 0;
	report_error("two cores are needed, and this process may use one");
	return -EINVAL;
}
