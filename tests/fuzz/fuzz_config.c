/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * libFuzzer target: the input is a configuration. A refusal must have a reason in printable ASCII;
 * what is accepted must be accepted again after export, with the same services.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	MAX_INPUT = 65536,
};

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "fuzz_config: %s\n", what);
	abort();
}

static void check_refusal(const struct config_problems *problems)
{
	bool has_error = false;

	for (size_t i = 0; i < problems->n; i++) {
		has_error |= !problems->problem[i].is_warning;
		require(problems->problem[i].text[0] != '\0', "a problem without a text");
		for (const char *c = problems->problem[i].text; *c != '\0'; c++)
			require(*c >= ' ' && *c <= '~', "a text that is not printable ASCII");
	}
	require(has_error && problems->n_errors > 0, "a refusal without an error");
}

static void check_export(const struct config *config)
{
	struct config_problems problems = {0};
	struct config *again = NULL;
	char *text = config_export(config->service, config->n_services);

	require(text != NULL, "no export");
	require(config_load_text("again", text, strlen(text), &again, &problems) == 0,
		"an export that is refused");
	require(again->n_services == config->n_services, "services lost by export");
	for (size_t i = 0; i < config->n_services; i++) {
		const struct config_service *a = &config->service[i];
		const struct config_service *b = &again->service[i];

		require(memcmp(&a->wire, &b->wire, sizeof(a->wire)) == 0, "a service changed");
		require(a->n_backends == b->n_backends, "backends lost by export");
		for (size_t k = 0; k < a->n_backends; k++)
			require(memcmp(&a->backend[k].wire, &b->backend[k].wire,
				       sizeof(a->backend[k].wire)) == 0,
				"a backend changed");
		require(a->n_listed == b->n_listed, "denies lost by export");
		for (size_t k = 0; k < a->n_listed; k++)
			require(memcmp(&a->listed[k].wire, &b->listed[k].wire,
				       sizeof(a->listed[k].wire)) == 0,
				"a deny changed");
	}
	config_free(again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_problems problems = {0};
	struct config *config = NULL;
	int status;

	if (size > MAX_INPUT)
		return 0;
	status = config_load_text("fuzz", (const char *)data, size, &config, &problems);
	require((status == 0) == (config != NULL), "a result that contradicts its status");
	if (status == -EINVAL)
		check_refusal(&problems);
	else if (status == 0)
		check_export(config);
	config_free(config);
	return 0;
}
