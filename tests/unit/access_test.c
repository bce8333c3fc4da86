/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* control/daemon/handlers.c: who may call what. */
#include <criterion/criterion.h>
#include <string.h>

#include <jansson.h>

#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/handlers.h"
#include "control/methods.h"

uint64_t daemon_now_ns(void)
{
	return 0;
}

static int call(struct daemon *daemon, enum access access, const char *method, json_t *params)
{
	struct rpc_request request = {.method = method, .params = params};
	struct rpc_error error = {0};
	struct rpc_list list;
	json_t *result;
	int code = handlers_run(daemon, access, &request, &result, &list, &error);

	json_decref(result);
	rpc_list_fini(&list);
	json_decref(params);
	return code;
}

static bool is_of_capture(const struct method *method)
{
	return method->id == METHOD_CAPTURE_BEGIN || method->id == METHOD_CAPTURE_READ ||
	       method->id == METHOD_CAPTURE_STOP;
}

/* What changes nothing, and costs as much as a change, or shows what is in packets. */
static bool is_for_writers(const struct method *method)
{
	return method->id == METHOD_CONFIG_PLAN || is_of_capture(method);
}

/* The least that it asks for. */
static json_t *params_of(const struct method *method)
{
	if (method->n_params > 0 && strcmp(method->params[0].name, "text") == 0)
		return json_pack("{s:s}", "text", "services: 7");
	return is_of_capture(method) && method->params[0].is_required
		       ? json_pack("{s:i}", "capture", 1)
		       : json_object();
}

Test(access, who_may_only_read_changes_plans_and_captures_nothing)
{
	struct daemon daemon = {.desired = desired_new(), .version = "test"};

	for (size_t i = 0; i < N_METHODS; i++) {
		const struct method *method = &method_table()[i];

		for (enum access access = ACCESS_NONE; access <= ACCESS_WRITE; access++) {
			int code = call(&daemon, access, method->name, params_of(method));
			bool is_permitted = access == ACCESS_WRITE ||
					    (access == ACCESS_READ && !method->is_mutation &&
					     !is_for_writers(method));

			cr_expect_eq(code != RPC_NOT_PERMITTED, is_permitted, "%s, access %d",
				     method->name, access);
		}
	}
	desired_free(daemon.desired);
}
