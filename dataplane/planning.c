/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * A plan is a snapshot that is built and never published, and what plan.h finds by it. It lives as long as
 * its transaction, which keeps all others from committing, so what it compares with stays. All of it happens
 * beside the packet path: flows are read as they are listed, a bounded part of the tables at a time.
 */
#include "dataplane/planning.h"

#include <errno.h>

#include "dataplane/dataplane.h"
#include "dataplane/plan.h"
#include "dataplane/session_internal.h"
#include "dataplane/snapshot.h"

void planning_end(struct sessions *sessions)
{
	plan_free(sessions->plan);
	snapshot_free(sessions->planned);
	sessions->plan = NULL;
	sessions->planned = NULL;
}

void planning_make(struct session *session, const void *body SL_UNUSED, struct answer *answer)
{
	struct sessions *sessions = session->sessions;
	struct wire_plan_reply *reply = answer->body;
	uint64_t start_ns = session_now_ns();
	char error[SL_MAX_ERROR] = "";
	int status;

	if (!session_holds_transaction(session, answer))
		return;
	planning_end(sessions);
	status =
		snapshot_build(sessions->stages.draft, sessions->draft_generation,
			       &sessions->draft_key, sessions->snapshot, &sessions->planned, error);
	if (status == 0)
		status = plan_new(sessions->snapshot, sessions->planned, &sessions->plan);
	if (status != 0) {
		answer_refuse(answer, status, "%s", error[0] != '\0' ? error : "out of memory");
		return;
	}
	plan_describe(sessions->plan, reply);
	reply->digest = sessions->planned->digest;
	reply->n_tables_built = sessions->planned->n_tables_built;
	reply->duration_ns = session_now_ns() - start_ns;
	answer->length = sizeof(*reply);
}

/* The plan of the session's transaction; NULL: the answer says why not. */
static struct plan *find_plan(const struct session *session, struct answer *answer)
{
	if (!session_holds_transaction(session, answer))
		return NULL;
	if (session->sessions->plan == NULL)
		answer_refuse(answer, -EPROTO, "transaction: it was not planned");
	return session->sessions->plan;
}

static bool count_flow(void *context, const struct dataplane_flow *flow)
{
	plan_count_flow(context, flow->flow, flow->now);
	return true;
}

void planning_flows(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_plan_flows_request *request = body;
	struct wire_plan_flows_reply *reply = answer->body;
	struct plan *plan = find_plan(session, answer);
	int status;

	if (plan == NULL)
		return;
	if (request->cursor == 0)
		plan_begin_flows(plan);
	status = dataplane_visit_flows(session->sessions->dataplane, request->cursor, count_flow,
				       plan, &reply->next);
	if (status != 0) {
		answer_refuse(answer, status, "flows: cursor %llu was never given out",
			      (unsigned long long)request->cursor);
		return;
	}
	reply->flows = *plan_fates(plan);
	answer->length = sizeof(*reply);
}

/* Whether a page may begin at @first of @n records; else the answer says why not. */
static bool judge_first(uint32_t first, uint32_t n, const char *what, struct answer *answer)
{
	if (first <= n)
		return true;
	answer_refuse(answer, -EINVAL, "plan: position %u of the %s (limit %u)", first, what, n);
	return false;
}

void planning_services(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_plan_services_request *request = body;
	struct wire_plan_services_reply *reply = answer->body;
	const struct plan *plan = find_plan(session, answer);
	uint32_t end;

	if (plan == NULL)
		return;
	if (!judge_first(request->first, plan_n_services(plan), "services", answer))
		return;
	reply->n_records = plan_services(plan, request->first, WIRE_MAX_RECORDS, reply->record);
	end = request->first + reply->n_records;
	reply->next = end < plan_n_services(plan) ? end : 0;
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}

void planning_backends(struct session *session, const void *body, struct answer *answer)
{
	const struct wire_plan_backends_request *request = body;
	struct wire_plan_backends_reply *reply = answer->body;
	const struct plan *plan = find_plan(session, answer);
	uint32_t end;

	if (plan == NULL)
		return;
	if (!judge_first(request->first, plan_n_backends(plan), "backends", answer))
		return;
	reply->n_records = plan_backends(plan, request->first, WIRE_MAX_RECORDS, reply->record);
	end = request->first + reply->n_records;
	reply->next = end < plan_n_backends(plan) ? end : 0;
	answer->length = sizeof(*reply) + reply->n_records * sizeof(reply->record[0]);
}
