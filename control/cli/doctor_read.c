/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Files of /proc, /sys and /dev, each below the doctor's root. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/cli/doctor_internal.h"

/* Puts the root before a path that is formatted. */
#define FORMAT_PATH(doctor, full, path)                                                            \
	do {                                                                                       \
		size_t used = (size_t)snprintf(full, sizeof(full), "%s", (doctor)->root);          \
		va_list arguments;                                                                 \
                                                                                                   \
		if (used >= sizeof(full))                                                          \
			return -ENAMETOOLONG;                                                      \
		va_start(arguments, path);                                                         \
		(void)vsnprintf((full) + used, sizeof(full) - used, path, arguments);              \
		va_end(arguments);                                                                 \
	} while (0)

enum {
	MAX_PATH = 1024,
	MAX_LINE = 4096,
};

static int read_first_line(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");
	int status = 0;

	if (!file)
		return -errno;
	errno = 0;
	if (fgets(text, (int)size, file))
		text[strcspn(text, "\n")] = '\0';
	else if (ferror(file))
		status = errno ? -errno : -EIO;
	else
		text[0] = '\0';
	(void)fclose(file);
	return status;
}

int doctor_read(const struct doctor *doctor, char *text, size_t size, const char *path, ...)
{
	char full[MAX_PATH];

	FORMAT_PATH(doctor, full, path);
	return read_first_line(full, text, size);
}

int doctor_read_number(const struct doctor *doctor, long *number, const char *path, ...)
{
	char full[MAX_PATH], text[64], *end;
	int status;

	FORMAT_PATH(doctor, full, path);
	status = read_first_line(full, text, sizeof(text));
	if (status)
		return status;
	*number = strtol(text, &end, 10);
	return end == text ? -EINVAL : 0;
}

int doctor_read_link_name(const struct doctor *doctor, char *text, size_t size, const char *path,
			  ...)
{
	char full[MAX_PATH], target[MAX_PATH];
	const char *name;
	ssize_t n;

	FORMAT_PATH(doctor, full, path);
	n = readlink(full, target, sizeof(target) - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	name = strrchr(target, '/');
	(void)snprintf(text, size, "%s", name ? name + 1 : target);
	return 0;
}

int doctor_find(const struct doctor *doctor, const char *path, ...)
{
	char full[MAX_PATH];

	FORMAT_PATH(doctor, full, path);
	return access(full, F_OK) ? -errno : 0;
}

int doctor_read_line(const struct doctor *doctor, const char *path, const char *start, char *text,
		     size_t size)
{
	char full[MAX_PATH], line[MAX_LINE];
	FILE *file;
	int status = -ENOENT;

	(void)snprintf(full, sizeof(full), "%s%s", doctor->root, path);
	file = fopen(full, "re");
	if (!file)
		return -errno;
	while (status && fgets(line, sizeof(line), file)) {
		const char *rest = line + strlen(start);

		if (strncmp(line, start, strlen(start)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(text, size, "%s", rest + strspn(rest, " \t:"));
		status = 0;
	}
	(void)fclose(file);
	return status;
}

int doctor_count(const struct doctor *doctor, const char *start, const char *path, ...)
{
	char full[MAX_PATH];
	const struct dirent *entry;
	DIR *folder;
	int n = 0;

	FORMAT_PATH(doctor, full, path);
	folder = opendir(full);
	if (!folder)
		return -errno;
	while ((entry = readdir(folder)) != NULL)
		n += entry->d_name[0] != '.' && strncmp(entry->d_name, start, strlen(start)) == 0;
	(void)closedir(folder);
	return n;
}

int doctor_find_process(const struct doctor *doctor, const char *name)
{
	char full[MAX_PATH], text[64];
	const struct dirent *entry;
	DIR *folder;
	int found = 0;

	(void)snprintf(full, sizeof(full), "%s/proc", doctor->root);
	folder = opendir(full);
	if (!folder)
		return -errno;
	while (!found && (entry = readdir(folder)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]) &&
		    doctor_read(doctor, text, sizeof(text), "/proc/%s/comm", entry->d_name) == 0 &&
		    strcmp(text, name) == 0)
			found = atoi(entry->d_name);
	(void)closedir(folder);
	return found;
}

void doctor_parse_cpus(const char *text, bool cpus[DOCTOR_MAX_CPUS])
{
	memset(cpus, 0, DOCTOR_MAX_CPUS * sizeof(cpus[0]));
	while (isdigit((unsigned char)*text)) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < DOCTOR_MAX_CPUS; first++)
			cpus[first] = true;
		text = end + (*end == ',');
	}
}

int doctor_read_cpus(const struct doctor *doctor, bool cpus[DOCTOR_MAX_CPUS], const char *path)
{
	char text[MAX_LINE];
	int status = doctor_read(doctor, text, sizeof(text), "%s", path);

	doctor_parse_cpus(status ? "" : text, cpus);
	return status;
}

const char *doctor_cpus_text(const bool cpus[DOCTOR_MAX_CPUS], char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < DOCTOR_MAX_CPUS && used < size; i++)
		if (cpus[i])
			used += (size_t)snprintf(text + used, size - used, "%s%zu", used ? "," : "",
						 i);
	return text;
}
