/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/* See parse.h. */
#include "control/cli/parse.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "config/share.h"
#include "config/similar.h"

enum {
	MAX_OPTIONS = 16,
	MAX_LIST = 400,
	MAX_COMMAND_NAME = 64,
};

/* A command line on its way through one command. */
struct reading {
	const struct command *command;
	struct request *request;
	struct rpc_error *error;
	char name[MAX_COMMAND_NAME];
	int n;
	char *const *words;
	int next;
};

static int refuse(struct rpc_error *error, const char *field, const char *value, const char *limit)
{
	error->code = RPC_PARAMS;
	rpc_error_data(error, value, limit);
	(void)snprintf(error->field, sizeof(error->field), "%s", field ? field : "");
	return CLI_USAGE;
}

/* Digits only, at most one minus before them. ERANGE: beyond 64 bits. */
static int to_integer(const char *text, int64_t *value)
{
	const char *digits = text + (text[0] == '-');
	char *end;

	if (digits[0] < '0' || digits[0] > '9')
		return -EINVAL;
	errno = 0;
	*value = strtoll(text, &end, 10);
	if (*end)
		return -EINVAL;
	return errno ? -ERANGE : 0;
}

/* Options */

static int take_number(const char *name, const char *text, int64_t min, int64_t max, int64_t *value,
		       struct rpc_error *error)
{
	char limit[64];

	if (to_integer(text, value) == 0 && *value >= min && *value <= max)
		return CLI_DONE;
	if (max == INT64_MAX)
		(void)snprintf(limit, sizeof(limit), "a whole number from %" PRId64, min);
	else
		(void)snprintf(limit, sizeof(limit), "%" PRId64 "..%" PRId64, min, max);
	rpc_error_set(error, RPC_PARAMS, name, "--%s is \"%.64s\", must be %s", name, text, limit);
	return refuse(error, name, text, limit);
}

static int take_option(int letter, const char *value, struct cli_options *options,
		       struct rpc_error *error)
{
	int64_t seconds;
	int code;

	switch ((enum option_letter)letter) {
	case OPTION_JSON:
		options->is_json = true;
		break;
	case OPTION_SOCKET:
		options->socket = value;
		break;
	case OPTION_CONFIG:
		options->config = value;
		break;
	case OPTION_HELP:
		options->is_help = true;
		break;
	case OPTION_VERSION:
		options->is_version = true;
		break;
	case OPTION_DRY_RUN:
		options->is_dry_run = true;
		break;
	case OPTION_TIMEOUT:
		code = take_number("timeout", value, 1, CLI_MAX_TIMEOUT_SEC, &seconds, error);
		if (code)
			return code;
		options->timeout_sec = (int)seconds;
		break;
	case OPTION_IF_GENERATION:
		options->has_if_generation = true;
		return take_number("if-generation", value, 0, INT64_MAX, &options->if_generation,
				   error);
	}
	return CLI_DONE;
}

/* getopt's tables, made from ours. */
static void fill_getopt(struct option *longs, char *shorts)
{
	size_t n;
	const struct command_option *table = command_options(&n);

	*shorts++ = ':';
	for (size_t i = 0; i < n && i < MAX_OPTIONS; i++) {
		longs[i] = (struct option){
			.name = table[i].name,
			.has_arg = table[i].value ? required_argument : no_argument,
			.val = table[i].letter,
		};
		if (table[i].letter > 255)
			continue;
		*shorts++ = (char)table[i].letter;
		if (table[i].value)
			*shorts++ = ':';
	}
	*shorts = '\0';
}

/* getopt has just refused argv[optind - 1], or one letter inside argv[optind]. */
static int refuse_option(int letter, char **argv, struct rpc_error *error)
{
	char single[3] = {'-', (char)optopt, '\0'};
	const char *before = argv[optind - 1];
	const char *word = optopt > 0 && optopt < 256 && before[1] != '-' ? single : before;

	if (letter == ':')
		rpc_error_set(error, RPC_PARAMS, word, "%.64s: this option needs a value", word);
	else if (optopt && before[1] == '-')
		rpc_error_set(error, RPC_PARAMS, word, "%.64s: this option takes no value", word);
	else if (optopt >= '0' && optopt <= '9')
		rpc_error_set(error, RPC_PARAMS, word, "%.64s: no value of sluice's is below 0",
			      word);
	else
		rpc_error_set(error, RPC_PARAMS, word,
			      "%.64s: no such option, or not the only one that begins so", word);
	return refuse(error, word, word, NULL);
}

int parse_options(int argc, char **argv, struct cli_options *options, int *first,
		  struct rpc_error *error)
{
	struct option longs[MAX_OPTIONS + 1] = {0};
	char shorts[2 * MAX_OPTIONS + 2];
	int letter;

	*options = (struct cli_options){.timeout_sec = CLI_DEFAULT_TIMEOUT_SEC};
	fill_getopt(longs, shorts);
	opterr = 0;
	optind = 0; /* GNU: begin anew */
	while ((letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		int code;

		if (letter == '?' || letter == ':')
			return refuse_option(letter, argv, error);
		code = take_option(letter, optarg, options, error);
		if (code)
			return code;
	}
	*first = optind;
	return CLI_DONE;
}

/* Which command */

static bool is_prefix(const char *prefix, const char *word)
{
	return strncmp(prefix, word, strlen(prefix)) == 0;
}

/* The command words at one level: nouns, or the verbs of one noun; without repetition. */
static const char *level_word(const char *noun, size_t i)
{
	size_t n;
	const struct command *table = command_table(&n);

	if (i == n)
		return "help";
	if (i > n)
		return NULL;
	if (noun)
		return strcmp(table[i].noun, noun) == 0 && table[i].verb ? table[i].verb : "";
	return i > 0 && strcmp(table[i].noun, table[i - 1].noun) == 0 ? "" : table[i].noun;
}

static void list_words(const char *noun, const char *prefix, char *text, size_t size)
{
	const char *word;
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; (word = level_word(noun, i)) != NULL; i++) {
		int length;

		if (!word[0] || !is_prefix(prefix, word) || used >= size)
			continue;
		length = snprintf(text + used, size - used, "%s%s", used ? ", " : "", word);
		used += length > 0 ? (size_t)length : 0;
	}
}

/* The word of the level that @given was probably meant to be; NULL: none is near. */
static const char *guess_word(const char *noun, const char *given)
{
	struct similar similar = {.given = given};
	const char *word;

	for (size_t i = 0; (word = level_word(noun, i)) != NULL; i++)
		similar_offer(&similar, word);
	return similar.found;
}

static void say_unknown(const char *noun, const char *given, const char *list, bool is_known,
			struct rpc_error *error)
{
	const char *guess = is_known ? NULL : guess_word(noun, given);

	rpc_error_set(error, RPC_PARAMS, noun ? noun : "command",
		      is_known ? "\"%.64s\" is ambiguous%s%s: %s%s%s%s"
			       : "\"%.64s\": no such command%s%s, known are: %s%s%s%s",
		      given, noun ? " of " : "", noun ? noun : "", list,
		      guess ? "; did you mean \"" : "", guess ? guess : "", guess ? "\"?" : "");
}

/* The word of the level that @given is, or is the only one to begin with. */
static const char *find_word(const char *noun, const char *given, struct rpc_error *error)
{
	const char *word, *found = NULL;
	char list[MAX_LIST];
	size_t n_found = 0;

	for (size_t i = 0; (word = level_word(noun, i)) != NULL; i++) {
		if (!word[0] || !is_prefix(given, word))
			continue;
		if (strcmp(given, word) == 0)
			return word;
		found = word;
		n_found++;
	}
	if (n_found == 1 && given[0])
		return found;
	list_words(noun, n_found ? given : "", list, sizeof(list));
	say_unknown(noun, given, list, n_found > 0, error);
	(void)refuse(error, noun ? noun : "command", given, list);
	return NULL;
}

static const struct command *find_command(const char *noun, const char *verb)
{
	size_t n;
	const struct command *table = command_table(&n);

	for (size_t i = 0; i < n; i++)
		if (strcmp(table[i].noun, noun) == 0 &&
		    (!table[i].verb || (verb && strcmp(table[i].verb, verb) == 0)))
			return &table[i];
	return NULL;
}

/* Takes the noun and the verb off the words: request->noun, ->command, ->is_help. */
static int find_path(int n, char *const *words, int *used, struct request *request,
		     struct rpc_error *error)
{
	const char *word;

	*used = 0;
	if (n == 0)
		return CLI_DONE;
	word = find_word(NULL, words[0], error);
	if (!word)
		return CLI_USAGE;
	*used = 1;
	if (strcmp(word, "help") == 0) {
		request->is_help = true;
		return CLI_DONE;
	}
	request->noun = word;
	request->command = find_command(word, NULL);
	if (request->command || n == 1)
		return CLI_DONE;
	word = find_word(request->noun, words[1], error);
	if (!word)
		return CLI_USAGE;
	*used = 2;
	if (strcmp(word, "help") == 0)
		request->is_help = true;
	else
		request->command = find_command(request->noun, word);
	return CLI_DONE;
}

/* Values */

static int refuse_value(const struct reading *reading, const char *what, const char *value,
			const char *limit)
{
	rpc_error_set(reading->error, RPC_PARAMS, what, "%s: %s is \"%.100s\", must be %s",
		      reading->name, what, value, limit);
	return refuse(reading->error, what, value, limit);
}

static int check_address(const struct reading *reading, const char *what, enum value_kind kind,
			 const char *value)
{
	struct wire_address address;
	union sl_addr addr;
	be16_t port;
	uint16_t first, last;
	uint8_t family, length;
	const char *reason = NULL;
	bool is_good = true;

	if (kind == VALUE_SERVICE_ADDRESS)
		is_good = config_parse_service_address(value, &address, &reason);
	else if (kind == VALUE_BACKEND || kind == VALUE_ENDPOINT)
		is_good = config_parse_endpoint(value, &addr, &port, &family, &reason);
	else if (kind == VALUE_ADDRESS)
		is_good = config_parse_addr(value, &addr, &family, &reason);
	else if (kind == VALUE_PREFIX)
		is_good = config_parse_prefix(value, &addr, &length, &family, &reason);
	else if (kind == VALUE_PORTS)
		is_good = config_parse_ports(value, &first, &last, &reason);
	else if (kind == VALUE_CLIENT)
		is_good = config_parse_addr(value, &addr, &family, &reason) ||
			  config_parse_endpoint(value, &addr, &port, &family, &reason);
	if (is_good)
		return CLI_DONE;
	rpc_error_set(reading->error, RPC_PARAMS, what, "%s: %s \"%.100s\": %s", reading->name,
		      what, value, reason ? reason : "is no address");
	return refuse(reading->error, what, value, reason);
}

static bool is_choice(const char *choices, const char *value)
{
	size_t length = strlen(value);

	while (*choices) {
		size_t n = strcspn(choices, "|");

		if (n == length && memcmp(choices, value, n) == 0)
			return true;
		choices += n + (choices[n] == '|');
	}
	return false;
}

static int check_string(const struct reading *reading, const struct command_param *param,
			const struct method_param *source, const char *what, const char *value)
{
	char limit[64];

	if (source && source->choices && !is_choice(source->choices, value))
		return refuse_value(reading, what, value, source->choices);
	if (param->choices && !is_choice(param->choices, value))
		return refuse_value(reading, what, value, param->choices);
	if (source && source->type == METHOD_STRING && !source->choices &&
	    ((int64_t)strlen(value) < source->min || (int64_t)strlen(value) > source->max)) {
		(void)snprintf(limit, sizeof(limit), "of %" PRId64 " to %" PRId64 " bytes",
			       source->min, source->max);
		return refuse_value(reading, what, value, limit);
	}
	if (param->kind == VALUE_NEW_NAME && !config_is_name(value))
		return refuse_value(reading, what, value,
				    "made of A-Z a-z 0-9 . _ -, the first a letter or digit");
	return check_address(reading, what, param->kind, value);
}

static int check_integer(const struct reading *reading, const struct method_param *source,
			 const char *what, const char *text, json_t **value)
{
	int64_t number;
	char limit[64];
	int status = to_integer(text, &number);

	(void)snprintf(limit, sizeof(limit), "%" PRId64 "..%" PRId64, source->min, source->max);
	if (status == -EINVAL)
		return refuse_value(reading, what, text, "a whole number");
	if (status || number < source->min || number > source->max)
		return refuse_value(reading, what, text, limit);
	*value = json_integer(number);
	return CLI_DONE;
}

/* As the number it is: hundredths make no whole one. */
static int check_percent(const struct reading *reading, const char *what, const char *text,
			 json_t **value)
{
	uint32_t share;

	if (!share_parse_percent(text, &share))
		return refuse_value(reading, what, text, "0..100, with two decimals at most");
	*value = share % SHARE_PERCENT == 0 ? json_integer(share / SHARE_PERCENT)
					    : json_real((double)share / SHARE_PERCENT);
	return CLI_DONE;
}

/* Words of the command */

static const char *what_of(const struct command_param *param)
{
	return param->word ? param->word : param->value ? param->value : param->name;
}

static int refuse_word(const struct reading *reading, const char *word, const char *reason)
{
	rpc_error_set(reading->error, RPC_PARAMS, word, "%s: \"%.100s\": %s", reading->name, word,
		      reason);
	return refuse(reading->error, word, word, NULL);
}

static int refuse_missing(const struct reading *reading, const char *what, const char *after)
{
	rpc_error_set(reading->error, RPC_PARAMS, what, "%s: %s is missing%s%s", reading->name,
		      what, after ? " after " : "", after ? after : "");
	return refuse(reading->error, what, NULL, NULL);
}

/* "source ADDR", again and again; "source none" is the empty list. */
static int take_list_item(struct reading *reading, const struct command_param *param,
			  const struct method_param *source, const char *word)
{
	json_t *list = json_object_get(reading->request->params, param->name);
	bool is_none = strcmp(word, "none") == 0;
	char limit[64];

	if (list && (is_none || json_array_size(list) == 0))
		return refuse_word(reading, word, "\"none\" stands alone");
	if (!list) {
		list = json_array();
		json_object_set_new(reading->request->params, param->name, list);
	}
	if (is_none)
		return CLI_DONE;
	if ((int64_t)json_array_size(list) >= source->max) {
		(void)snprintf(limit, sizeof(limit), "one of at most %" PRId64, source->max);
		return refuse_value(reading, what_of(param), word, limit);
	}
	json_array_append_new(list, json_string(word));
	return check_string(reading, param, NULL, what_of(param), word);
}

static int check_boolean(const struct reading *reading, const struct command_param *param,
			 const char *word, json_t **value)
{
	const char *choices = command_choices(reading->command, param);

	if (!is_choice(choices, word))
		return refuse_value(reading, what_of(param), word, choices);
	*value = json_boolean(strcmp(word, "yes") == 0);
	return CLI_DONE;
}

/* "10.1.0.0/16,2001:db8::/32"; "none" is the empty list. The lists among members are of prefixes. */
static int take_prefixes(const struct reading *reading, const struct method_param *member,
			 const char *what, const char *word, json_t **value)
{
	json_t *list = json_array();
	int code = CLI_DONE;
	char limit[64];

	for (const char *at = word; !code && strcmp(word, "none") != 0; at++) {
		size_t length = strcspn(at, ",");
		json_t *item = json_stringn(at, length);

		json_array_append_new(list, item);
		code = check_address(reading, what, VALUE_PREFIX, json_string_value(item));
		at += length;
		if (!*at)
			break;
	}
	if (!code && (int64_t)json_array_size(list) > member->max) {
		(void)snprintf(limit, sizeof(limit), "a list of at most %" PRId64, member->max);
		code = refuse_value(reading, what, word, limit);
	}
	if (code)
		json_decref(list);
	else
		*value = list;
	return code;
}

/* The value of @member; *value stays NULL if it is refused. */
static int take_member_value(const struct reading *reading, const struct command_param *param,
			     const struct method_param *member, const char *what, const char *word,
			     json_t **value)
{
	int code;

	if (member->type == METHOD_INTEGER)
		return check_integer(reading, member, what, word, value);
	if (member->type == METHOD_PERCENT)
		return check_percent(reading, what, word, value);
	if (member->type == METHOD_STRINGS)
		return take_prefixes(reading, member, what, word, value);
	if (member->type == METHOD_BOOLEAN) {
		if (!is_choice("yes|no", word))
			return refuse_value(reading, what, word, "yes|no");
		*value = json_boolean(strcmp(word, "yes") == 0);
		return CLI_DONE;
	}
	code = check_string(reading, param, member, what, word);
	if (!code)
		*value = json_string(word);
	return code;
}

/* "timeout CLASS SECONDS", "check MEMBER VALUE": a member of the object. */
static int take_member(struct reading *reading, const struct command_param *param,
		       const struct method_param *source, const char *word)
{
	json_t *object = json_object_get(reading->request->params, param->name);
	const struct method_param *member = NULL;
	char known[MAX_LIST] = "", what[96];
	json_t *value = NULL;
	int code;

	for (size_t i = 0; i < source->n_members; i++) {
		size_t used = strlen(known);

		(void)snprintf(known + used, sizeof(known) - used, "%s%s", used ? "|" : "",
			       source->members[i].name);
		if (strcmp(source->members[i].name, word) == 0)
			member = &source->members[i];
	}
	if (!member)
		return refuse_value(reading, what_of(param), word, known);
	(void)snprintf(what, sizeof(what), "%s %s", what_of(param), word);
	if (json_object_get(object, word))
		return refuse_word(reading, what, "is given twice");
	if (reading->next == reading->n)
		return refuse_missing(reading, param->value, what);
	code = take_member_value(reading, param, member, what, reading->words[reading->next++],
				 &value);
	if (code)
		return code;
	if (!object) {
		object = json_object();
		json_object_set_new(reading->request->params, param->name, object);
	}
	json_object_set_new(object, word, value);
	return CLI_DONE;
}

/* Seconds, perhaps with decimals. */
static int check_interval(const struct reading *reading, const char *what, const char *word,
			  json_t **value)
{
	char *end;
	double seconds = strtod(word, &end);

	/* No sign, no exponent, no name of a number: what people mean by seconds. */
	if (word[strspn(word, "0123456789.")] || *end || end == word || !(seconds >= 0.1) ||
	    seconds > 86400)
		return refuse_value(reading, what, word, "seconds from 0.1 to 86400");
	*value = json_real(seconds);
	return CLI_DONE;
}

static int take_value(struct reading *reading, const struct command_param *param, const char *word)
{
	const struct method_param *source = command_method_param(reading->command, param);
	bool is_own = param->is_own || param->kind == VALUE_FILE;
	json_t *to = is_own ? reading->request->own : reading->request->params;
	json_t *value = NULL;
	int code;

	if (source && source->type == METHOD_STRINGS)
		return take_list_item(reading, param, source, word);
	if (source && source->type == METHOD_OBJECT)
		return take_member(reading, param, source, word);
	if (json_object_get(to, param->name))
		return refuse_word(reading, what_of(param), "is given twice");
	if (source && source->type == METHOD_INTEGER) {
		code = check_integer(reading, source, what_of(param), word, &value);
	} else if (source && source->type == METHOD_BOOLEAN) {
		code = check_boolean(reading, param, word, &value);
	} else if (param->kind == VALUE_SECONDS) {
		static const struct method_param day = {.min = 1, .max = 86400};

		code = check_integer(reading, &day, what_of(param), word, &value);
	} else if (param->kind == VALUE_INTERVAL) {
		code = check_interval(reading, what_of(param), word, &value);
	} else if (param->kind == VALUE_SHELL && strcmp(word, "bash") != 0) {
		code = refuse_value(reading, what_of(param), word, "bash");
	} else {
		code = check_string(reading, param, source, what_of(param), word);
		value = param->kind == VALUE_FLAG ? json_true() : json_string(word);
	}
	json_object_set_new(to, param->name, value);
	return code;
}

static const struct command_param *find_keyword(const struct reading *reading, const char *word)
{
	for (size_t i = 0; i < reading->command->n_params; i++) {
		const struct command_param *param = &reading->command->param[i];

		if (param->word && strcmp(param->word, word) == 0)
			return param;
	}
	return NULL;
}

static int refuse_unknown(const struct reading *reading, const char *word)
{
	const struct command *command = reading->command;
	char known[MAX_LIST] = "";

	for (size_t i = 0; i < command->n_params; i++) {
		size_t used = strlen(known);

		if (command->param[i].word)
			(void)snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "",
				       command->param[i].word);
	}
	if (!known[0])
		return refuse_word(reading, word, "one word too many");
	rpc_error_set(reading->error, RPC_PARAMS, word,
		      "%s: \"%.100s\": no such keyword, known are: %s", reading->name, word, known);
	return refuse(reading->error, word, word, known);
}

static int take_keyword(struct reading *reading)
{
	const char *word = reading->words[reading->next++];
	const struct command_param *param = find_keyword(reading, word);

	if (!param)
		return refuse_unknown(reading, word);
	if (param->kind == VALUE_FLAG)
		return take_value(reading, param, word);
	if (reading->next == reading->n)
		return refuse_missing(reading, "a value", word);
	return take_value(reading, param, reading->words[reading->next++]);
}

static int take_positional(struct reading *reading, const struct command_param *param)
{
	if (reading->next < reading->n)
		return take_value(reading, param, reading->words[reading->next++]);
	return param->is_optional ? CLI_DONE : refuse_missing(reading, what_of(param), NULL);
}

static int take_words(struct reading *reading)
{
	int first_keyword, code = CLI_DONE;

	for (size_t i = 0; !code && i < reading->command->n_params; i++)
		if (!reading->command->param[i].word)
			code = take_positional(reading, &reading->command->param[i]);
	first_keyword = reading->next;
	while (!code && reading->next < reading->n)
		code = take_keyword(reading);
	if (code || !reading->command->needs_keyword || reading->n > first_keyword)
		return code;
	rpc_error_set(reading->error, RPC_PARAMS, "value", "%s: nothing to set is given",
		      reading->name);
	return refuse(reading->error, "value", NULL, NULL);
}

static int check_utf8(int n, char *const *words, struct rpc_error *error)
{
	for (int i = 0; i < n; i++) {
		json_t *text = json_string(words[i]);

		json_decref(text);
		if (text)
			continue;
		rpc_error_set(error, RPC_PARAMS, "command", "\"%.100s\": is not UTF-8", words[i]);
		return refuse(error, "command", words[i], "UTF-8");
	}
	return CLI_DONE;
}

static int take_mutation(const struct cli_options *options, struct reading *reading)
{
	bool is_mutation = command_is_mutation(reading->command);
	json_t *params = reading->request->params;

	if (!is_mutation && options->is_dry_run)
		return refuse_word(reading, "--dry-run", "this command changes nothing anyway");
	if (!is_mutation && options->has_if_generation)
		return refuse_word(reading, "--if-generation", "this command changes nothing");
	if (options->has_if_generation)
		json_object_set_new(params, "if_generation", json_integer(options->if_generation));
	if (options->is_dry_run)
		json_object_set_new(params, "dry_run", json_true());
	return CLI_DONE;
}

/* Help is asked for: the words that are left must be a command's, or none. */
static int take_help(int n, char *const *words, struct request *request, struct rpc_error *error)
{
	int used = 0, code = CLI_DONE;

	if (!request->noun && n > 0)
		code = find_path(n, words, &used, request, error);
	request->is_help = true;
	if (code || used == n)
		return code;
	rpc_error_set(error, RPC_PARAMS, "help", "help: \"%.64s\": one word too many", words[used]);
	return refuse(error, "help", words[used], NULL);
}

int parse_request(const struct cli_options *options, int n, char *const *words,
		  struct request *request, struct rpc_error *error)
{
	struct reading reading = {.request = request, .error = error};
	int used, code = check_utf8(n, words, error);

	*request = (struct request){.params = json_object(), .own = json_object()};
	if (!code)
		code = find_path(n, words, &used, request, error);
	if (code)
		return code;
	if (options->is_help) { /* wherever it stands, whatever else there is */
		request->is_help = true;
		return CLI_DONE;
	}
	if (request->is_help)
		return take_help(n - used, words + used, request, error);
	if (!request->command) {
		char list[MAX_LIST];

		list_words(request->noun, "", list, sizeof(list));
		rpc_error_set(error, RPC_PARAMS, "command",
			      "%s%sa command is missing, known are: %s",
			      request->noun ? request->noun : "", request->noun ? ": " : "", list);
		return refuse(error, "command", NULL, list);
	}
	if (!request->command->verb && n - used == 1 && strcmp(words[used], "help") == 0) {
		request->is_help = true;
		return CLI_DONE;
	}
	reading.command = request->command;
	(void)command_name(request->command, reading.name, sizeof(reading.name));
	reading.n = n - used;
	reading.words = words + used;
	code = take_words(&reading);
	return code ? code : take_mutation(options, &reading);
}

void request_fini(struct request *request)
{
	json_decref(request->params);
	json_decref(request->own);
	*request = (struct request){0};
}
