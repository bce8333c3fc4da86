/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Runs a fuzz target on every file of some folders, one TAP line each, so that what fuzzing found once
 * is tested in every build, also without libFuzzer. A broken invariant aborts.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_FILE = 1 << 20,
};

static int replay(const char *folder, const char *name, int number)
{
	char path[1024];
	uint8_t *data = malloc(MAX_FILE);
	FILE *file;
	size_t size;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "re");
	if (file == NULL || data == NULL) {
		printf("not ok %d - %s cannot be read\n", number, name);
		free(data);
		return 1;
	}
	size = fread(data, 1, MAX_FILE, file);
	fclose(file);
	/* Exactly as long as the file: a read beyond its end is seen by the sanitizer. */
	data = realloc(data, size != 0 ? size : 1);
	LLVMFuzzerTestOneInput(data, size);
	printf("ok %d - %s\n", number, name);
	fflush(stdout);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	int number = 0;
	int failed = 0;

	for (int i = 1; i < argc; i++) {
		DIR *folder = opendir(argv[i]);
		struct dirent *entry;

		if (folder == NULL) {
			printf("Bail out! no folder of inputs\n");
			return 1;
		}
		while ((entry = readdir(folder)) != NULL)
			if (entry->d_name[0] != '.')
				failed += replay(argv[i], entry->d_name, ++number);
		closedir(folder);
	}
	if (number == 0)
		failed = 1;
	printf("1..%d\n", number);
	return failed != 0;
}
