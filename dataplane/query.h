/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* Messages that read: each takes a request of its type, of the right size, and answers. */
#pragma once

struct answer;
struct session;

void query_status(struct session *session, const void *body, struct answer *answer);
void query_counters(struct session *session, const void *body, struct answer *answer);
void query_service_counters(struct session *session, const void *body, struct answer *answer);
void query_backend_counters(struct session *session, const void *body, struct answer *answer);
void query_backend_openings(struct session *session, const void *body, struct answer *answer);
void query_flows(struct session *session, const void *body, struct answer *answer);
void query_flow_count(struct session *session, const void *body, struct answer *answer);
void query_explain(struct session *session, const void *body, struct answer *answer);
void query_ports(struct session *session, const void *body, struct answer *answer);
void query_affinities(struct session *session, const void *body, struct answer *answer);
void query_affinity_clear(struct session *session, const void *body, struct answer *answer);
void query_workers(struct session *session, const void *body, struct answer *answer);
