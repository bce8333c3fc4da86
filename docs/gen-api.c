/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * Prints docs/api.md from the method table and the list of error codes; a test compares the two.
 * Run: gen-api > docs/api.md
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/event_types.h"
#include "control/methods.h"
#include "control/rpc.h"

static const char head[] =
	"# The API of sluiced\n"
	"\n"
	"<!-- Printed by docs/gen-api.c from control/methods.c; do not edit. -->\n"
	"\n"
	"JSON-RPC 2.0 over the Unix socket `RUN_DIR/control.sock`, one document per line, "
	"answered\n"
	"in order. A document has at most %d bytes, of who may change things %d, and nests at most "
	"%d\n"
	"levels deep; it is UTF-8, without duplicate keys. Batches, notifications and positional "
	"parameters are refused.\n"
	"\n"
	"```\n"
	"--> {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"backend.set\", \"params\": "
	"{\"service\": "
	"\"web\",\n"
	"     \"address\": \"10.0.0.2:8080\", \"state\": \"drain\"}}\n"
	"<-- {\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {\"generation\": 7, \"applied\": true,\n"
	"     \"dry_run\": false, \"changes\": [...], \"n_changes\": 1}}\n"
	"```\n"
	"\n"
	"Root, the daemon's own user and members of its group may call everything. Members of the\n"
	"configuration's api_read_only_group may call what is not marked as a mutation, but\n"
	"config.plan, which costs as much as one, and capture.*, which shows what is in packets.\n"
	"At most %d\n"
	"clients are served, %d of each user but root; a document that has begun must end within "
	"5\n"
	"seconds, and a client that leaves more than 8 MiB of answers unread is closed.\n"
	"\n"
	"Every mutation is done whole or not at all, and answered when the dataplane has it (if "
	"it\n"
	"is connected: `applied`) and it is on disk. It takes `if_generation`, which refuses the\n"
	"call unless the state's generation is the one given, and `dry_run`, which judges the "
	"call\n"
	"(in the dataplane too) and changes nothing. `changes` lists the first 1000 changes as\n"
	"{action, object, service, backend, fields, text}; `n_changes` counts them all.\n";

static const char events_head[] =
	"\n## Events\n\n"
	"After `events.subscribe` the connection is told what happens, in order, and may be used "
	"for other calls\n"
	"all the same; a further `events.subscribe` takes the place of the former one.\n\n"
	"```\n"
	"--> {\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"events.subscribe\", \"params\": "
	"{\"since\": 6}}\n"
	"<-- {\"jsonrpc\": \"2.0\", \"id\": 1, \"result\": {\"instance\": \"00000a5f\", \"since\": "
	"6,\n"
	"     \"first\": 1, \"last\": 7, \"types\": [...]}}\n"
	"<-- {\"jsonrpc\": \"2.0\", \"method\": \"event\", \"params\": {\"sequence\": 7, \"time\": "
	"\"2026-11-29T16:20:01.204511Z\",\n"
	"     \"type\": \"backend.health\", \"service\": \"web\", \"backend\": \"10.0.0.2:8080\",\n"
	"     \"is\": \"down\", \"reason\": \"connect: Connection refused\"}}\n"
	"```\n\n"
	"Events are numbered from 1 by each sluiced anew (`instance` tells one from another), and "
	"the "
	"last 4096 are kept.\n"
	"Who reads slowly is sent no more than 64 KiB ahead and holds up nobody; what it misses is "
	"counted in an\n"
	"`overrun`, whose number is that of the last event that was lost. Who reads nothing for 30 "
	"s "
	"while something\n"
	"is to be sent is closed, and so is who ends its sending side.\n\n"
	"| type | what it says | members beside `sequence`, `time` and `type` |\n|---|---|---|\n";

static void print_range(const struct method_param *param)
{
	if (param->choices) {
		for (const char *c = param->choices; *c; c++)
			(void)(*c == '|' ? fputs(", ", stdout) : putchar(*c));
	} else if (param->type == METHOD_STRING) {
		printf("%" PRId64 "..%" PRId64 " bytes", param->min, param->max);
	} else if (param->type == METHOD_STRINGS) {
		printf("%" PRId64 "..%" PRId64 " items", param->min, param->max);
	} else if (param->type == METHOD_INTEGER && param->max == INT64_MAX) {
		printf("from %" PRId64, param->min);
	} else if (param->type == METHOD_INTEGER || param->type == METHOD_PERCENT) {
		printf("%" PRId64 "..%" PRId64, param->min, param->max);
	}
}

static void print_params(const char *prefix, const struct method_param *params, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char inner[128];

		printf("| `%s%s` | %s | %s | ", prefix, params[i].name,
		       method_type_name(params[i].type), params[i].is_required ? "yes" : "no");
		print_range(&params[i]);
		printf(" | %s |\n", params[i].help);
		(void)snprintf(inner, sizeof(inner), "%s%s.", prefix, params[i].name);
		print_params(inner, params[i].members, params[i].n_members);
	}
}

static void print_method(const struct method *method)
{
	printf("\n### %s\n\n%s%s\n", method->name, method->summary,
	       method->is_mutation ? " (a mutation)." : ".");
	if (method->n_params == 0)
		return;
	printf("\n| parameter | type | required | range | meaning |\n|---|---|---|---|---|\n");
	print_params("", method->params, method->n_params);
}

int main(void)
{
	const struct method *table = method_table();

	printf(head, SL_MAX_RPC_BYTES, SL_MAX_RPC_WRITER_BYTES, SL_MAX_RPC_DEPTH,
	       SL_MAX_RPC_CLIENTS, SL_MAX_RPC_CLIENTS_PER_UID);
	printf("\n## Methods\n");
	for (size_t i = 0; i < N_METHODS; i++)
		print_method(&table[i]);
	(void)fputs(events_head, stdout);
#define X(upper, name, help, members) printf("| `%s` | %s | %s |\n", name, help, members);
	EVENT_TYPE_LIST(X)
#undef X
	printf("\n## Errors\n\n"
	       "An error has a code, a message that names the object, the value and the limit, "
	       "and\n"
	       "`data` with `field`, `value` and `limit` where there are such.\n\n"
	       "| code | meaning |\n|---|---|\n");
#define X(upper, code, sense) printf("| %d | %s |\n", code, sense);
	RPC_ERROR_LIST(X)
#undef X
	return fflush(stdout) ? 1 : 0;
}
