/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* config.plan. */
#include "control/daemon/handlers.h"

#include "config/config.h"
#include "control/daemon/daemon.h"
#include "control/daemon/desired.h"
#include "control/daemon/plan.h"
#include "control/daemon/plan_json.h"
#include "control/daemon/reconcile.h"

static json_t *describe(struct call *call, const struct plan *plan, json_t *changes,
			size_t n_changes)
{
	json_t *result =
		json_pack("{s:I, s:O, s:I}", "generation", (json_int_t)call->daemon->generation,
			  "changes", changes, "n_changes", (json_int_t)n_changes);
	json_t *totals = plan_totals_json(plan);

	json_object_update(result, totals);
	json_decref(totals);
	call->list.name = "services";
	json_object_set_new(result, call->list.name, json_null());
	plan_write_services(plan, &call->list.text);
	json_object_set_new(result, "warnings",
			    plan_warnings_json(plan, reconcile_is_synced(call->daemon->reconcile)));
	return result;
}

int handle_config_plan(struct call *call)
{
	struct change change = {.is_judged = true};
	struct plan plan = {0};
	struct config *config;
	struct client *client;
	json_t *changes = NULL;
	size_t n_changes;
	/* It changes nothing, and takes of the dataplane's memory and time what a change takes. */
	int code = call_check_access(call, ACCESS_WRITE);

	if (!code)
		code = call_client(call, &client);
	if (!code)
		code = call_load_text(call, &config, &change.next, NULL);
	if (code)
		return code;
	change.has_hash_key = config->has_hash_key;
	change.hash_key = config->hash_key;
	config_free(config);
	code = change_plan(call->daemon, &change, &plan, &changes, &n_changes, call->error);
	if (!code)
		call->result = describe(call, &plan, changes, n_changes);
	json_decref(changes);
	plan_fini(&plan);
	desired_free(change.next);
	return code;
}
