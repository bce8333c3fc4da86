/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* The table of commands and what is read off it. Data first. */
#include "control/cli/commands.h"

#include <inttypes.h>
#include <string.h>

#include "control/cli/doctor.h"
#include "control/cli/output.h"
#include "control/cli/top_rows.h"

/* clang-format off */
#define POSITIONAL(n, v, k)         {.name = n, .value = v, .kind = k}
#define OPTIONAL(n, v, k)           {.name = n, .value = v, .kind = k, .is_optional = true}
#define KEYWORD(w, v, k)            {.word = w, .name = w, .value = v, .kind = k}
#define CHOICE(w)                   {.word = w, .name = w}
#define TIMEOUTS \
	{.word = "timeout", .name = "timeouts", .member = "CLASS", .value = "SECONDS", \
	 .help = "idle seconds of a class of flows: established, transitory, embryonic or udp"}
#define CHECKS \
	{.word = "check", .name = "check", .member = "MEMBER", .value = "VALUE", \
	 .help = "how the backends are checked, a member at a time; those not given keep their default or value"}
#define CANARY \
	{.word = "canary", .name = "canary", .member = "MEMBER", .value = "VALUE", \
	 .help = "the share of new flows of a group of backends, and the clients that are its own (sources: prefixes " \
		 "with commas between them, or none), a member at a time; those not given keep their value"}
#define AFFINITY \
	{.word = "affinity", .name = "affinity", .member = "MEMBER", .value = "VALUE", \
	 .help = "for how long clients keep their backend, and by how much of their address, a member at a time"}
#define FLAG(w, text)               {.word = w, .name = w, .kind = VALUE_FLAG, .is_own = true, .help = text}
#define FILE_NAME(text)             {.name = "file", .value = "FILE", .kind = VALUE_FILE, .help = text}
#define GENERATION \
	{.name = "generation", .value = "N", .kind = VALUE_GENERATION, .help = "one of those that generation list names"}
#define SOURCE_SET \
	{.word = "source", .name = "source", .value = "ADDR", .kind = VALUE_ADDRESS, \
	 .help = "source address that fullnat and snat use; all that are given replace all there were, \"none\" " \
		 "clears them"}
#define SOURCE_ADD \
	{.word = "source", .name = "source", .value = "ADDR", .kind = VALUE_ADDRESS, \
	 .help = "source address that fullnat and snat use; may be given several times"}
#define DENY(w, text) {.word = w, .name = w, .value = "PREFIX", .kind = VALUE_PREFIX, .help = text}
#define DENIES(how) \
	DENY("deny_source", "clients that snat does not lead out; " how), \
	DENY("deny_destination", "whom clients of snat may not talk to; " how)
#define DENIES_SET DENIES("all that are given replace all there were, \"none\" clears them")
#define DENIES_ADD DENIES("may be given several times")
#define SOURCE_PORTS KEYWORD("source_ports", "LOW-HIGH", VALUE_PORTS)
#define REPLIES_AND_LOG CHOICE("stateless_replies"), CHOICE("proxy_protocol"), CHOICE("flow_log")

static const struct command table[] = {
	{
		.noun = "service", .verb = "add", .method = "service.add", .print = output_changes,
		.description = "Adds a service that belongs to the API. It takes no flows before it has a backend.",
		.example = {
			"sluice service add web 203.0.113.10:80/tcp",
			"sluice service add dns '[2001:db8::53]:53/udp' timeout udp 30",
			"sluice service add api 203.0.113.11:443/tcp mode fullnat source 10.0.0.250 source 10.0.0.251",
			"sluice service add office 10.0.0.0/16 mode snat source 203.0.113.200",
			"sluice service add app 203.0.113.12:80/tcp check type http check path /health",
			"sluice service add shop 203.0.113.13:80/tcp affinity timeout 1800 affinity prefix 24",
		},
		.param = {
			POSITIONAL("name", "NAME", VALUE_NEW_NAME),
			POSITIONAL("address", "ADDR:PORT/tcp|udp", VALUE_SERVICE_ADDRESS),
			CHOICE("mode"), CHOICE("scheduler"), SOURCE_ADD, SOURCE_PORTS, DENIES_ADD, REPLIES_AND_LOG,
			KEYWORD("slots", "N", VALUE_ANY), TIMEOUTS, CHECKS, AFFINITY,
		},
		.n_params = 15,
	},
	{
		.noun = "service", .verb = "set", .method = "service.set", .needs_keyword = true, .print = output_changes,
		.description =
			"Changes what is given and leaves the rest; mode nat drops the source addresses. Flows that "
			"live go on as they began. Services of the configuration file are changed there; their canary alone "
			"may be moved by hand, until the file is next applied.",
		.example = {
			"sluice service set web slots 131071 timeout established 3600",
			"sluice service set web mode fullnat source 10.0.0.250 source_ports 10000-65535",
			"sluice service set office deny_destination 192.168.0.0/16 deny_destination 192.0.2.7",
			"sluice service set office deny_source none",
			"sluice service set web check type tcp check interval_ms 1000",
			"sluice service set web canary group v2 canary share_percent 5",
			"sluice service set web canary group v2 canary sources 10.1.0.0/16,2001:db8::/32",
			"sluice service set web canary sources none",
		},
		.param = {
			POSITIONAL("name", "NAME", VALUE_SERVICE),
			CHOICE("mode"), CHOICE("scheduler"), SOURCE_SET, SOURCE_PORTS, DENIES_SET, REPLIES_AND_LOG,
			KEYWORD("slots", "N", VALUE_ANY), TIMEOUTS, CHECKS, AFFINITY, CANARY,
		},
		.n_params = 15,
	},
	{
		.noun = "service", .verb = "delete", .method = "service.delete", .print = output_changes,
		.description = "Deletes a service of the API with its backends; its flows end.",
		.example = {"sluice service delete web"},
		.param = {POSITIONAL("name", "NAME", VALUE_SERVICE)},
		.n_params = 1,
	},
	{
		.noun = "service", .verb = "show", .method = "service.show", .print = output_service,
		.description = "Shows one service: its settings, its counters and its backends.",
		.example = {"sluice service show web"},
		.param = {POSITIONAL("name", "NAME", VALUE_SERVICE)},
		.n_params = 1,
	},
	{
		.noun = "service", .verb = "list", .method = "service.list", .print = output_services,
		.description = "Lists all services, whoever owns them: the configuration file or the API.",
		.example = {"sluice service list", "sluice -j service list"},
	},
	{
		.noun = "backend", .verb = "add", .method = "backend.add", .print = output_changes,
		.description =
			"Adds a backend to a service. Its share of new flows is its weight over the sum of the "
			"weights of those that serve.",
		.example = {
			"sluice backend add web 10.0.0.4:8080 weight 2 max_flows 1000",
			"sluice backend add web 10.0.9.9:8080 role sorry",
		},
		.param = {
			POSITIONAL("service", "SERVICE", VALUE_SERVICE),
			POSITIONAL("address", "ADDR:PORT", VALUE_ENDPOINT),
			KEYWORD("weight", "N", VALUE_ANY), KEYWORD("max_flows", "N", VALUE_ANY), CHOICE("state"), CHOICE("role"),
			KEYWORD("group", "NAME", VALUE_ANY),
		},
		.n_params = 7,
	},
	{
		.noun = "backend", .verb = "set", .method = "backend.set", .needs_keyword = true, .print = output_changes,
		.description =
			"Changes a backend's weight, limit, state, role or group. ready takes new flows; drain keeps the flows "
			"it has and takes no new ones; maint ends them.",
		.example = {
			"sluice backend set web 10.0.0.2:8080 state drain",
			"sluice backend set web 10.0.0.2:8080 weight 5 --dry-run",
			"sluice backend set web 10.0.0.4:8080 role backup group v2",
		},
		.param = {
			POSITIONAL("service", "SERVICE", VALUE_SERVICE),
			POSITIONAL("address", "ADDR:PORT", VALUE_BACKEND),
			KEYWORD("weight", "N", VALUE_ANY), KEYWORD("max_flows", "N", VALUE_ANY), CHOICE("state"), CHOICE("role"),
			KEYWORD("group", "NAME", VALUE_ANY),
		},
		.n_params = 7,
	},
	{
		.noun = "backend", .verb = "delete", .method = "backend.delete", .print = output_changes,
		.description =
			"Deletes a backend; its flows end. To lose none, drain it first and wait until it has none.",
		.example = {"sluice backend delete web 10.0.0.2:8080"},
		.param = {
			POSITIONAL("service", "SERVICE", VALUE_SERVICE),
			POSITIONAL("address", "ADDR:PORT", VALUE_BACKEND),
		},
		.n_params = 2,
	},
	{
		.noun = "backend", .verb = "list", .method = "backend.list", .print = output_backends,
		.print_text = output_backends_text,
		.description =
			"Lists the backends of one service, or of all: state, weight, share of the slots, whether the "
			"kernel knows the next hop's link address, flows created, flows that live, packets and bytes; with "
			"mode fullnat, source ports in use of how many, over all source addresses; with TCP, how long SYNs of "
			"clients waited for their SYN-ACK, and how many the backend refused or left unanswered, of those of "
			"which that is known, since the dataplane began; and where a backend has a role or a group, these, and whether it gets new flows now.",
		.example = {"sluice backend list web"},
		.param = {OPTIONAL("service", "SERVICE", VALUE_SERVICE)},
		.n_params = 1,
	},
	{
		.noun = "backend", .verb = "wait", .runner = COMMAND_WAITS,
		.print = output_waited, .summary = "wait until a backend is drained, up or down",
		.description =
			"Waits until no flow of a backend that takes no new ones is open (drained, the default), or until "
			"its health checks find it up or down. Exits with 1 when the time is over, or if it can't come "
			"to that: a backend that is in use is never drained.",
		.example = {
			"sluice backend wait web 10.0.0.2:8080 state drained timeout 600",
			"sluice backend wait web 10.0.0.2:8080 state up",
		},
		.param = {
			{.name = "service", .value = "SERVICE", .kind = VALUE_SERVICE, .is_own = true,
			 .help = "the service's name"},
			{.name = "address", .value = "ADDR:PORT", .kind = VALUE_BACKEND, .is_own = true,
			 .help = "ADDR:PORT of the backend"},
			{.word = "state", .name = "state", .is_own = true, .choices = "drained|up|down",
			 .help = "what is waited for; default drained"},
			{.word = "timeout", .name = "timeout", .value = "SECONDS", .kind = VALUE_SECONDS, .is_own = true,
			 .help = "how long at most (1..86400), default 60"},
		},
		.n_params = 4,
	},
	{
		.noun = "flow", .verb = "list", .method = "flow.list", .print = output_flows,
		.description = "Lists live flows, in no order, 100 at most unless limit says otherwise.",
		.example = {"sluice flow list service web limit 20", "sluice flow list client 198.51.100.7"},
		.param = {
			KEYWORD("service", "NAME", VALUE_SERVICE), KEYWORD("client", "ADDR[:PORT]", VALUE_CLIENT),
			KEYWORD("limit", "N", VALUE_ANY),
		},
		.n_params = 3,
	},
	{
		.noun = "flow", .verb = "count", .method = "flow.count", .print = output_flow_count,
		.description = "Counts live flows, and tells how many there is room for.",
		.example = {"sluice flow count service web"},
		.param = {KEYWORD("service", "NAME", VALUE_SERVICE)},
		.n_params = 1,
	},
	{
		.noun = "affinity", .verb = "list", .method = "affinity.list", .print = output_affinities,
		.description =
			"Lists the services whose clients keep their backend, and how many clients, or prefixes of them, "
			"do at present. Who they are the dataplane does not tell; of one client explain does.",
		.example = {"sluice affinity list", "sluice affinity list web"},
		.param = {OPTIONAL("service", "SERVICE", VALUE_SERVICE)},
		.n_params = 1,
	},
	{
		.noun = "affinity", .verb = "clear", .method = "affinity.clear", .print = output_affinity_clear,
		.description =
			"Ends what clients of a service keep: their next new flows are scheduled. Flows that live stay.",
		.example = {"sluice affinity clear web"},
		.param = {POSITIONAL("service", "SERVICE", VALUE_SERVICE)},
		.n_params = 1,
	},
	{
		.noun = "explain", .method = "explain", .print = output_explanation,
		.description =
			"Tells what would become of a packet, step by step: the dataplane's own decision on its live "
			"tables. No packet is sent and no flow is made.",
		.example = {"sluice explain tcp 198.51.100.7:40000 203.0.113.10:80"},
		.param = {
			POSITIONAL("protocol", NULL, VALUE_ANY), POSITIONAL("source", "SRC:PORT", VALUE_ENDPOINT),
			POSITIONAL("destination", "DST:PORT", VALUE_ENDPOINT),
		},
		.n_params = 3,
	},
	{
		.noun = "capture", .method = "capture.begin", .runner = COMMAND_CAPTURES,
		.summary = "packets as they reach Sluice and as they leave it, for Wireshark",
		.description =
			"Writes copies of packets to a pcapng file: an interface for each port, times in nanoseconds, the "
			"direction, and a comment that says what became of the packet: its verdict, service and backend. Only "
			"packets that fit all that is given are taken, one that comes and goes by either form. It ends with count, "
			"seconds or ^C. The file is replaced if it is there, as by tcpdump, and is its owner's alone; without to, "
			"or with -, it is standard output. Packets that come faster than they can be fetched are lost to the "
			"capture, not to the network; how many, the file and the last line say. Only who may change things may "
			"capture, one at a time.",
		.example = {
			"sluice capture service web client 198.51.100.7 to web.pcapng",
			"sluice capture verdict drop_no_backend count 100 to drops.pcapng",
			"sluice capture port eth1 direction in seconds 10 snaplen 1600 > eth1.pcapng",
		},
		.param = {
			KEYWORD("service", "NAME", VALUE_SERVICE), KEYWORD("client", "ADDR[:PORT]", VALUE_CLIENT),
			KEYWORD("backend", "ADDR[:PORT]", VALUE_CLIENT), KEYWORD("verdict", "NAME", VALUE_ANY),
			CHOICE("direction"), KEYWORD("port", "NAME", VALUE_ANY), KEYWORD("snaplen", "N", VALUE_ANY),
			KEYWORD("count", "N", VALUE_ANY),
			{.word = "seconds", .name = "seconds", .value = "N", .kind = VALUE_SECONDS, .is_own = true,
			 .help = "over after so many (1..86400)"},
			{.word = "to", .name = "to", .value = "FILE", .is_own = true,
			 .help = "the file, or - for standard output"},
		},
		.n_params = 10,
	},
	{
		.noun = "counters", .method = "counters", .print = output_counters,
		.description =
			"Shows the dataplane's counters with unit and meaning; those that are zero only with all. "
			"With service, the counters of one service and its backends.",
		.example = {"sluice counters", "sluice counters service web all"},
		.param = {KEYWORD("service", "NAME", VALUE_SERVICE), FLAG("all", "show counters that are zero, too")},
		.n_params = 2,
	},
	{
		.noun = "top", .runner = COMMAND_WATCHES,
		.summary = "services or backends with what they do a second, live",
		.description =
			"Shows services, or the backends of one, with new flows, packets, bits and drops a second, until q "
			"ends it. s and b show services, or the backends of the one that is marked (arrows); < and > choose "
			"the column that rows are sorted by, r reverses, / filters. On a pipe, with count or with -j it "
			"prints snapshots, each with the rates since the one before. A sluiced that goes is waited for.",
		.example = {"sluice top", "sluice top service web interval 5", "sluice -j top count 1 sort bits_in"},
		.param = {
			{.word = "service", .name = "service", .value = "NAME", .kind = VALUE_SERVICE, .is_own = true,
			 .help = "show the backends of this service"},
			{.word = "interval", .name = "interval", .value = "SECONDS", .kind = VALUE_INTERVAL, .is_own = true,
			 .help = "from one look to the next (0.1..86400), default 1"},
			{.word = "count", .name = "count", .value = "N", .kind = VALUE_SECONDS, .is_own = true,
			 .help = "print so many snapshots (1..86400), and end"},
			{.word = "sort", .name = "sort", .choices = TOP_SORT_CHOICES, .is_own = true,
			 .help = "the column that rows are sorted by; default packets_in"},
			FLAG("reverse", "the smallest first"),
			{.word = "filter", .name = "filter", .value = "TEXT", .is_own = true,
			 .help = "show rows with this in name, address, mode, state or health"},
		},
		.n_params = 6,
	},
	{
		.noun = "events", .method = "events.subscribe", .runner = COMMAND_FOLLOWS,
		.summary = "what happens, as it happens",
		.description =
			"Prints a line for each change: health of backends, states, configurations, the dataplane coming, "
			"going and falling out of step. With -j each is a JSON document. When sluiced ends it is waited for, "
			"and what it has told since then is printed too. A reader that is too slow gets an overrun with the "
			"number of events that it missed.",
		.example = {"sluice events", "sluice -j events since 0 type backend.health type overrun"},
		.param = {
			KEYWORD("since", "N", VALUE_ANY), KEYWORD("instance", "ID", VALUE_ANY),
			{.word = "type", .name = "types", .value = "TYPE",
			 .help = "only events of this type; may be given several times"},
			{.word = "count", .name = "count", .value = "N", .kind = VALUE_SECONDS, .is_own = true,
			 .help = "end after so many events (1..86400)"},
		},
		.n_params = 4,
	},
	{
		.noun = "status", .method = "status", .print = output_status,
		.description = "Shows the state of sluiced and of the dataplane, its ports and its workers.",
		.example = {"sluice status"},
	},
	{
		.noun = "check", .method = "config.check", .runner = COMMAND_CHECKS, .print = output_check,
		.summary = "judge a configuration file, without a daemon",
		.description =
			"Reads a configuration file as the programs would and names every error with file, line and "
			"column. Nothing is changed and nothing has to run. With live, sluiced judges it as well, "
			"against the services that the API owns.",
		.example = {"sluice check /etc/sluice/sluice.yaml", "sluice check new.yaml live"},
		.param = {
			FILE_NAME("the configuration, or - for standard input"),
			FLAG("live", "let sluiced judge it, too"),
		},
		.n_params = 2,
	},
	{
		.noun = "doctor", .runner = COMMAND_EXAMINES, .print = output_doctor,
		.summary = "examine this host: is it made for what the configuration wants",
		.description =
			"Looks at hugepages, IOMMU, drivers, queues, offloads, XDP, sysctls, cores and clock, as the "
			"configuration's engine needs them, and says of each what was found, what is wanted and which "
			"command mends it. Nothing is changed and nothing has to run; sluiced is asked if it answers. "
			"What only root may see is unknown to others. Exits with 1 if there is a warning or a fault, "
			"with 0 if there is nothing worse than a note.",
		.example = {"sluice doctor", "sluice doctor all -c new.yaml", "sluice -j doctor"},
		.param = {
			FLAG("all", "show what is good, too"),
			{.word = "root", .name = "root", .value = "DIR", .is_own = true,
			 .help = "look at the copies of /proc, /sys and /dev below DIR; interfaces are not asked then"},
		},
		.n_params = 2,
	},
	{
		.noun = "diff", .method = "config.diff", .print = output_diff,
		.summary = "what applying a configuration file would change",
		.description =
			"Shows the changes that apply of the same file would make, one a line: + added, - deleted, ~ "
			"changed.",
		.example = {"sluice diff new.yaml"},
		.param = {FILE_NAME("the configuration, or - for standard input")},
		.n_params = 1,
	},
	{
		.noun = "plan", .method = "config.plan", .print = output_plan,
		.summary = "what applying a configuration file would do to slots and live flows",
		.description =
			"Lets the dataplane build what apply of the same file would make, compares it with what is live, and "
			"changes nothing. For each service that changes: how many slots move from one backend to another, and "
			"of the flows that live now, how many stay, how many end (reset) and how many begin afresh at another "
			"backend (move); the source ports; then warnings.",
		.example = {"sluice plan new.yaml", "sluice -j plan new.yaml"},
		.param = {FILE_NAME("the configuration, or - for standard input")},
		.n_params = 1,
	},
	{
		.noun = "apply", .method = "config.apply", .print = output_changes,
		.summary = "make the services of a configuration file the running ones",
		.description =
			"Replaces all services that the configuration file owns with those of FILE, whole or not at "
			"all. Services of the API stay. When the command is done, packets are balanced so, and the "
			"state is on disk.",
		.example = {"sluice apply /etc/sluice/sluice.yaml", "sluice apply new.yaml --if-generation 41"},
		.param = {FILE_NAME("the configuration, or - for standard input")},
		.n_params = 1,
	},
	{
		.noun = "rollback", .method = "config.rollback", .print = output_changes,
		.summary = "make the state what it was at a former generation",
		.description =
			"Makes all services, those of the API too, and who owns them what they were at generation N, whole "
			"or not at all, as a new generation. Each apply, rollback and reload of the configuration file "
			"keeps what it made and what it replaced; generation list says which there are. To the newest of them, "
			"it undoes what was changed by hand since, which generation diff N shows. The "
			"configuration file is not touched: sluiced takes it again when it is told to reload it, or when "
			"it starts and the file has changed.",
		.example = {"sluice rollback 41", "sluice rollback 41 --dry-run"},
		.param = {GENERATION},
		.n_params = 1,
	},
	{
		.noun = "generation", .verb = "list", .method = "generation.list", .print = output_generations,
		.summary = "the generations that rollback can go back to, and how many changes followed",
		.description =
			"Lists the generations that rollback can go back to, the newest first, and what made each: apply, "
			"rollback, file (read by sluiced at its start or on SIGHUP), or changes over the API. If the state "
			"is none of them it comes first, with how many changes lead to it from the newest; rollback to that "
			"one undoes them.",
		.example = {"sluice generation list"},
	},
	{
		.noun = "generation", .verb = "diff", .method = "generation.diff", .print = output_diff,
		.summary = "what has been changed since a kept generation; rollback to it undoes that",
		.description =
			"Shows the changes that lead from generation N to the state as it is, one a line: + added, - deleted, ~ "
			"changed. Of the newest in generation list, these are the changes made by hand since.",
		.example = {"sluice generation diff 44"},
		.param = {GENERATION},
		.n_params = 1,
	},
	{
		.noun = "export", .method = "config.export", .print = output_export,
		.summary = "print the running services as a configuration file",
		.description =
			"Prints all services, those of the API too, as configuration that check and apply read back "
			"to the same.",
		.example = {"sluice export > services.yaml"},
	},
	{
		.noun = "methods", .method = "methods", .print = output_methods,
		.summary = "list the methods of the JSON-RPC API",
		.description =
			"Lists what programs can call on the socket. With -j, everything the method table says: "
			"types, ranges, choices and error codes.",
		.example = {"sluice methods"},
	},
	{
		.noun = "shell", .runner = COMMAND_READS,
		.summary = "read commands, with completion and history",
		.description =
			"Reads command lines without the word sluice and runs each as if it had been typed alone, with the "
			"options that the shell was given. Tab completes words, names of services and backends; the line is "
			"edited as in emacs; quit ends it. Without any command sluice is a shell, too, if it is on a terminal. "
			"Lines from a file or a pipe are run until one fails, whose status it exits with; those that begin "
			"with # are passed over.",
		.example = {"sluice shell", "sluice -s /run/sluice/control.sock shell"},
	},
	{
		.noun = "completion", .runner = COMMAND_COMPLETES,
		.summary = "print the completion script of a shell",
		.description =
			"Prints a script that completes commands, keywords, values, service names and backends. The "
			"latter two are asked of sluiced.",
		.example = {
			"sluice completion bash > /etc/bash_completion.d/sluice",
			"eval \"$(sluice completion bash)\"",
		},
		.param = {
			{.name = "shell", .value = "bash", .kind = VALUE_SHELL, .is_own = true,
			 .help = "the shell; bash is the only one"},
		},
		.n_params = 1,
	},
};

static const struct command_option options[] = {
	{OPTION_JSON, "json", NULL, "print the result, or the error, as one JSON document"},
	{OPTION_SOCKET, "socket", "PATH", "sluiced's socket (default /run/sluice/control.sock)"},
	{OPTION_CONFIG, "config", "FILE", "take the socket's folder from run_dir of this configuration"},
	{OPTION_TIMEOUT, "timeout", "SEC", "wait so long for an answer (default 90)"},
	{OPTION_IF_GENERATION, "if-generation", "N", "refuse the change unless the state's generation is N"},
	{OPTION_DRY_RUN, "dry-run", NULL, "judge the change, show it, and make none"},
	{OPTION_HELP, "help", NULL, "print help, of the command if there is one"},
	{OPTION_VERSION, "version", NULL, "print the version"},
};
/* clang-format on */

const struct command *command_table(size_t *n)
{
	*n = SL_ARRAY_LEN(table);
	return table;
}

const struct command_option *command_options(size_t *n)
{
	*n = SL_ARRAY_LEN(options);
	return options;
}

const char *command_noun_summary(const char *noun)
{
	static const struct {
		const char *noun, *summary;
	} nouns[] = {
		{"service", "what clients connect to: address, port and protocol"},
		{"backend", "what serves a service"},
		{"flow", "connections that live in the dataplane"},
		{"affinity", "the backends that clients keep for a time"},
		{"generation", "former states of the configuration, to go back to"},
	};

	for (size_t i = 0; i < SL_ARRAY_LEN(nouns); i++)
		if (strcmp(nouns[i].noun, noun) == 0)
			return nouns[i].summary;
	return NULL;
}

static const struct method *method_of(const struct command *command)
{
	return command->method ? method_find(command->method) : NULL;
}

const char *command_summary(const struct command *command)
{
	const struct method *method = method_of(command);

	return command->summary ? command->summary : method ? method->summary : "";
}

bool command_is_mutation(const struct command *command)
{
	const struct method *method = method_of(command);

	return method && method->is_mutation;
}

const struct method_param *command_method_param(const struct command *command,
						const struct command_param *param)
{
	const struct method *method = method_of(command);

	for (size_t i = 0; method && !param->is_own && i < method->n_params; i++)
		if (strcmp(method->params[i].name, param->name) == 0)
			return &method->params[i];
	return NULL;
}

const char *command_choices(const struct command *command, const struct command_param *param)
{
	const struct method_param *source = command_method_param(command, param);

	if (!source)
		return param->choices;
	return source->type == METHOD_BOOLEAN ? "yes|no" : source->choices;
}

const char *command_member_limits(const struct method_param *member, char *text, size_t size)
{
	if (member->type == METHOD_BOOLEAN || member->choices)
		(void)snprintf(text, size, "%s", member->choices ? member->choices : "yes|no");
	else if (member->type == METHOD_STRING)
		(void)snprintf(text, size, "at most %" PRId64 " bytes", member->max);
	else if (member->type == METHOD_STRINGS)
		(void)snprintf(text, size, "at most %" PRId64, member->max);
	else
		(void)snprintf(text, size, "%" PRId64 "..%" PRId64, member->min, member->max);
	return text;
}

const char *command_param_help(const struct command *command, const struct command_param *param)
{
	const struct method_param *source = command_method_param(command, param);

	return param->help ? param->help : source ? source->help : "";
}

const char *command_name(const struct command *command, char *text, size_t size)
{
	(void)snprintf(text, size, "%s%s%s", command->noun, command->verb ? " " : "",
		       command->verb ? command->verb : "");
	return text;
}

/* The value's place in a usage line: its own word, or the words it may be. */
static const char *value_of(const struct command *command, const struct command_param *param)
{
	const char *choices = command_choices(command, param);

	if (param->kind == VALUE_FLAG)
		return "";
	return param->value ? param->value : choices ? choices : "VALUE";
}

void command_param_usage(const struct command *command, const struct command_param *param,
			 char *text, size_t size)
{
	const struct method_param *source = command_method_param(command, param);
	const char *value = value_of(command, param);
	bool is_member = source && source->type == METHOD_OBJECT;
	bool is_list = source && (source->type == METHOD_STRINGS || is_member);

	if (!param->word && param->is_optional)
		(void)snprintf(text, size, "[%s]", value);
	else if (!param->word)
		(void)snprintf(text, size, "%s", value);
	else
		(void)snprintf(text, size, "[%s%s%s%s%s]%s", param->word, is_member ? " " : "",
			       is_member ? param->member : "", value[0] ? " " : "", value,
			       is_list ? "..." : "");
}

void command_usage(const struct command *command, char *text, size_t size)
{
	char name[64], place[128];
	size_t used;

	(void)snprintf(text, size, "sluice %s", command_name(command, name, sizeof(name)));
	for (size_t i = 0; i < command->n_params; i++) {
		command_param_usage(command, &command->param[i], place, sizeof(place));
		used = strlen(text);
		(void)snprintf(text + used, size - used, " %s", place);
	}
}
