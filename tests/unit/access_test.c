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
	json_t *result;
	int code = handlers_run(daemon, access, &request, &result, &error);

	json_decref(result);
	json_decref(params);
	return code;
}

/* What changes nothing and costs as much as a change. */
static bool is_costly(const struct method *method)
{
	return method->id == METHOD_CONFIG_PLAN;
}

Test(access, who_may_only_read_changes_nothing_and_plans_nothing)
{
	struct daemon daemon = {.desired = desired_new(), .version = "test"};

	for (size_t i = 0; i < N_METHODS; i++) {
		const struct method *method = &method_table()[i];
		bool needs_text =
			method->n_params > 0 && strcmp(method->params[0].name, "text") == 0;

		for (enum access access = ACCESS_NONE; access <= ACCESS_WRITE; access++) {
			json_t *params = needs_text ? json_pack("{s:s}", "text", "services: 7")
						    : json_object();
			int code = call(&daemon, access, method->name, params);
			bool is_permitted = access == ACCESS_WRITE ||
					    (access == ACCESS_READ && !method->is_mutation &&
					     !is_costly(method));

			cr_expect_eq(code != RPC_NOT_PERMITTED, is_permitted, "%s, access %d",
				     method->name, access);
		}
	}
	desired_free(daemon.desired);
}
