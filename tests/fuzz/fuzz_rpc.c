/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * libFuzzer target: each line of the input is decoded, judged and run against an in-memory state
 * without dataplane or disk; every answer must be one line that decodes as a response. Several lines
 * make a session, so that objects made by one are there for the next.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/handlers.h"
#include "control/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

uint64_t daemon_now_ns(void)
{
	return 0;
}

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "fuzz_rpc: %s\n", what);
	abort();
}

static void check_answer(char *line, size_t length, int code)
{
	struct rpc_response response;
	struct rpc_error error;

	require(line != NULL, "an answer cannot be encoded");
	require(memchr(line, '\n', length) == line + length - 1, "an answer is not one line");
	require(rpc_decode_response(line, length, &response, &error) == 0,
		"an answer is no response");
	require(response.error.code == code, "an answer's code is another");
	rpc_response_fini(&response);
	free(line);
}

static void run_line(struct daemon *daemon, const char *line, size_t length)
{
	uint64_t generation = daemon->generation;
	struct rpc_request request;
	struct rpc_error error;
	struct rpc_list list = {0};
	json_t *result = NULL;
	size_t answer_length = 0;
	int code = rpc_decode_request(line, length, SL_MAX_RPC_BYTES, &request, &error);

	if (!code)
		code = handlers_run(daemon, ACCESS_WRITE, &request, &result, &list, &error);
	if (code) {
		require(daemon->generation == generation, "a refused call changed the state");
		require(error.message[0] != '\0', "a refusal without a message");
		char *answer = rpc_encode_error(request.id, &error, &answer_length);

		check_answer(answer, answer_length, code);
	} else {
		char *answer = rpc_encode_result(request.id, result, &list, &answer_length);

		check_answer(answer, answer_length, 0);
	}
	json_decref(result);
	rpc_list_fini(&list);
	rpc_request_fini(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct daemon daemon = {.version = "fuzz", .desired = desired_new()};
	struct rpc_error error;

	require(daemon.desired != NULL, "out of memory");
	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t length = end ? (size_t)(end - data) : size;
		char *line = malloc(length + 1);

		require(line != NULL, "out of memory");
		memcpy(line, data, length);
		run_line(&daemon, line, length);
		free(line);
		data += length + (end != NULL);
		size -= length + (end != NULL);
	}
	require(desired_check(daemon.desired, NULL, &error) == 0,
		"a state that its own rules refuse");
	desired_free(daemon.live);
	desired_free(daemon.desired);
	return 0;
}
