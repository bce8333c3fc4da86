/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Fuzz target: one JSON-RPC line, decoded and held against the table of methods. Lean, so that it
 * makes many executions; fuzz_rpc goes on to dispatch. Invariants: a refusal has a code and a text,
 * and the answer to it is one line that decodes.
 */
#include <stdlib.h>
#include <string.h>

#include "control/methods.h"
#include "control/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
	if (!is_true)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *line = malloc(size + 1);
	struct rpc_request request;
	struct rpc_error error;
	int code;

	require(line != NULL);
	memcpy(line, data, size);
	code = rpc_decode_request(line, size, SL_MAX_RPC_BYTES, &request, &error);
	if (code == 0) {
		const struct method *method = method_find(request.method);

		if (method != NULL)
			code = method_check(method, request.params, &error);
	}
	if (code != 0) {
		size_t length = 0;
		char *answer;

		require(error.message[0] != '\0');
		answer = rpc_encode_error(request.id, &error, &length);
		require(answer != NULL && length > 0 && answer[length - 1] == '\n');
		free(answer);
	}
	rpc_request_fini(&request);
	free(line);
	return 0;
}
