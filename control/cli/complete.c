/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright (c) 2026 The Sluice authors */
/*
 * The script is data from the table (what may follow what), and one function that walks it. Each
 * place of a command is a list of words, or one of: @service, @backend, @file.
 */
#include "control/cli/complete.h"

#include <string.h>

#include "control/cli/commands.h"

static const char head[] =
	"# bash completion for sluice(1), printed by \"sluice completion bash\"; do not edit.\n"
	"\n";

/* clang-format off */
static const char walker[] =
	"\n"
	"# The words of the line before the cursor; bash would split addresses at their colons.\n"
	"_sluice_words() {\n"
	"\tlocal line=${COMP_LINE:0:COMP_POINT}\n"
	"\tread -ra words <<< \"$line\"\n"
	"\tcase $line in *[[:space:]]) words+=('') ;; esac\n"
	"}\n"
	"\n"
	"# The words of a list of the table, a line each.\n"
	"_sluice_list() {\n"
	"\tlocal word\n"
	"\tfor word in $*; do\n"
	"\t\techo \"$word\"\n"
	"\tdone\n"
	"}\n"
	"\n"
	"# The only word of the list $2 that begins with $1.\n"
	"_sluice_full() {\n"
	"\tlocal word found=()\n"
	"\tfor word in $2; do\n"
	"\t\t[[ $word == \"$1\" ]] && { echo \"$word\"; return; }\n"
	"\t\t[[ $word == \"$1\"* ]] && found+=(\"$word\")\n"
	"\tdone\n"
	"\t[[ ${#found[@]} == 1 ]] && echo \"${found[0]}\"\n"
	"}\n"
	"\n"
	"# The values of the member $1 in an answer of sluiced.\n"
	"_sluice_ask() {\n"
	"\tlocal member=$1\n"
	"\tshift\n"
	"\t\"${program[@]}\" -j --timeout 2 \"$@\" 2> /dev/null |\n"
	"\t\tgrep -o \"\\\"$member\\\": *\\\"[^\\\"\\\\]*\\\"\" | cut -d '\"' -f 4\n"
	"}\n"
	"\n"
	"# What may stand at the place $1; $2 is the service of the line, if there is one.\n"
	"_sluice_place() {\n"
	"\tcase $1 in\n"
	"\t-) ;;\n"
	"\t@service) _sluice_ask name service list ;;\n"
	"\t@backend) [[ $2 ]] && _sluice_ask address backend list \"$2\" ;;\n"
	"\t@file) compgen -f -- \"$current\" ;;\n"
	"\t*) _sluice_list \"${1//|/ }\" ;;\n"
	"\tesac\n"
	"}\n"
	"\n"
	"# Takes options off words, so that the rest is a command; what to ask sluiced with: program.\n"
	"_sluice_options() {\n"
	"\tlocal i last=$((${#words[@]} - 1)) rest=()\n"
	"\tprogram=(\"${words[0]}\")\n"
	"\tfor ((i = 0; i <= last; i++)); do\n"
	"\t\tif ((i == last)) || [[ ${words[i]} != -?* ]]; then\n"
	"\t\t\trest+=(\"${words[i]}\")\n"
	"\t\telif [[ \" $_sluice_valued \" == *\" ${words[i]} \"* ]]; then\n"
	"\t\t\tcase ${words[i]} in\n"
	"\t\t\t-s | -c | --socket | --config) program+=(\"${words[i]}\" \"${words[i + 1]}\") ;;\n"
	"\t\t\tesac\n"
	"\t\t\t((i + 1 == last)) && option=${words[i]}\n"
	"\t\t\t((i++))\n"
	"\t\tfi\n"
	"\tdone\n"
	"\twords=(\"${rest[@]}\")\n"
	"}\n"
	"\n"
	"# The candidates where keywords and their values stand: from the word $2 on of the command $1.\n"
	"_sluice_keyword() {\n"
	"\tlocal path=$1 at=$2 last=$((${#words[@]} - 1)) places\n"
	"\twhile ((at < last)); do\n"
	"\t\tread -ra places <<< \"${_sluice_values[\"$path ${words[at]}\"]}\"\n"
	"\t\tif ((last - at <= ${#places[@]})); then\n"
	"\t\t\t_sluice_place \"${places[last - at - 1]}\"\n"
	"\t\t\treturn\n"
	"\t\tfi\n"
	"\t\t((at += 1 + ${#places[@]}))\n"
	"\tdone\n"
	"\t_sluice_list \"${_sluice_keywords[\"$path\"]}\"\n"
	"}\n"
	"\n"
	"# The candidates for the last of words, which are a command and what follows it.\n"
	"_sluice_candidates() {\n"
	"\tlocal noun verb path at last=$((${#words[@]} - 1)) places\n"
	"\t((last == 1)) && { _sluice_list \"$_sluice_nouns help\"; return; }\n"
	"\tnoun=$(_sluice_full \"${words[1]}\" \"$_sluice_nouns help\")\n"
	"\tif [[ $noun == help ]]; then\n"
	"\t\t((last == 2)) && _sluice_list \"$_sluice_nouns\"\n"
	"\t\t((last == 3)) && _sluice_list \"${_sluice_verbs[\"${words[2]}\"]}\"\n"
	"\t\treturn\n"
	"\tfi\n"
	"\t[[ $noun ]] || return\n"
	"\tpath=$noun at=2\n"
	"\tif [[ ${_sluice_verbs[\"$noun\"]} ]]; then\n"
	"\t\t((last == 2)) && { _sluice_list \"${_sluice_verbs[\"$noun\"]} help\"; return; }\n"
	"\t\tverb=$(_sluice_full \"${words[2]}\" \"${_sluice_verbs[\"$noun\"]}\")\n"
	"\t\t[[ $verb ]] || return\n"
	"\t\tpath=\"$noun $verb\" at=3\n"
	"\tfi\n"
	"\tread -ra places <<< \"${_sluice_places[\"$path\"]}\"\n"
	"\tif ((last - at < ${#places[@]})); then\n"
	"\t\t_sluice_place \"${places[last - at]}\" \"${words[at]}\"\n"
	"\telse\n"
	"\t\t_sluice_keyword \"$path\" $((at + ${#places[@]}))\n"
	"\tfi\n"
	"}\n"
	"\n"
	"_sluice() {\n"
	"\tlocal words program current option= candidates line\n"
	"\t_sluice_words\n"
	"\tcurrent=${words[${#words[@]} - 1]}\n"
	"\t_sluice_options\n"
	"\tif [[ $option ]]; then\n"
	"\t\tcase $option in -s | -c | --socket | --config) candidates=$(_sluice_place @file) ;; esac\n"
	"\telif [[ $current == -* ]]; then\n"
	"\t\tcandidates=$(_sluice_list \"$_sluice_all_options\")\n"
	"\telse\n"
	"\t\tcandidates=$(_sluice_candidates)\n"
	"\tfi\n"
	"\tCOMPREPLY=()\n"
	"\twhile IFS= read -r line; do\n"
	"\t\t[[ $line && $line == \"$current\"* ]] || continue\n"
	"\t\t[[ $COMP_WORDBREAKS == *:* ]] && line=${line#\"${current%\"${current##*:}\"}\"}\n"
	"\t\tCOMPREPLY+=(\"$line\")\n"
	"\tdone <<< \"$candidates\"\n"
	"}\n"
	"complete -F _sluice sluice\n";
/* clang-format on */

/* What can be completed at a value's place; "-" for what cannot. */
static const char *place_of(const struct command *command, const struct command_param *param)
{
	const struct method_param *source = command_method_param(command, param);

	if (source && source->choices)
		return source->choices;
	switch (param->kind) {
	case VALUE_SERVICE:
		return "@service";
	case VALUE_BACKEND:
		return "@backend";
	case VALUE_FILE:
		return "@file";
	case VALUE_SHELL:
		return "bash";
	case VALUE_ANY:
	case VALUE_NEW_NAME:
	case VALUE_SERVICE_ADDRESS:
	case VALUE_ENDPOINT:
	case VALUE_ADDRESS:
	case VALUE_CLIENT:
	case VALUE_FLAG:
		break;
	}
	return "-";
}

static void print_nouns(FILE *out)
{
	size_t n;
	const struct command *table = command_table(&n);
	const char *last = "";

	(void)fputs("_sluice_nouns='", out);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(table[i].noun, last) != 0)
			(void)fprintf(out, "%s%s", i ? " " : "", table[i].noun);
		last = table[i].noun;
	}
	(void)fputs("'\ndeclare -gA _sluice_verbs=(", out);
	last = "";
	for (size_t i = 0; i < n; i++) {
		bool is_new = strcmp(table[i].noun, last) != 0;

		if (is_new && last[0])
			(void)fputc('\'', out);
		last = table[i].verb ? table[i].noun : "";
		if (is_new && table[i].verb)
			(void)fprintf(out, "\n\t[%s]='%s", table[i].noun, table[i].verb);
		else if (table[i].verb)
			(void)fprintf(out, " %s", table[i].verb);
	}
	(void)fputs("\n)\n", out);
}

/* The places of all commands: positionals, or keywords. */
static void print_places(FILE *out, const char *variable, bool is_keyword)
{
	size_t n;
	const struct command *table = command_table(&n);
	char name[64];

	(void)fprintf(out, "declare -gA %s=(\n", variable);
	for (size_t i = 0; i < n; i++) {
		const char *separator = "";

		(void)fprintf(out, "\t['%s']='", command_name(&table[i], name, sizeof(name)));
		for (size_t k = 0; k < table[i].n_params; k++) {
			const struct command_param *param = &table[i].param[k];

			if ((param->word != NULL) != is_keyword)
				continue;
			(void)fprintf(out, "%s%s", separator,
				      is_keyword ? param->word : place_of(&table[i], param));
			separator = " ";
		}
		(void)fputs("'\n", out);
	}
	(void)fputs(")\n", out);
}

/* What follows each keyword: nothing, a value, or a class and a value. */
static void print_values(FILE *out)
{
	size_t n;
	const struct command *table = command_table(&n);
	char name[64];

	(void)fputs("declare -gA _sluice_values=(\n", out);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < table[i].n_params; k++) {
			const struct command_param *param = &table[i].param[k];
			const struct method_param *source = command_method_param(&table[i], param);

			if (!param->word)
				continue;
			(void)fprintf(out, "\t['%s %s']='",
				      command_name(&table[i], name, sizeof(name)), param->word);
			if (source && source->type == METHOD_OBJECT) {
				for (size_t m = 0; m < source->n_members; m++)
					(void)fprintf(out, "%s%s", m ? "|" : "",
						      source->members[m].name);
				(void)fputc(' ', out);
			}
			if (param->kind != VALUE_FLAG)
				(void)fputs(place_of(&table[i], param), out);
			(void)fputs("'\n", out);
		}
	}
	(void)fputs(")\n", out);
}

static void print_options(FILE *out, const char *variable, bool is_valued_only)
{
	size_t n;
	const struct command_option *options = command_options(&n);

	(void)fprintf(out, "%s='", variable);
	for (size_t i = 0; i < n; i++) {
		if (is_valued_only && !options[i].value)
			continue;
		if (options[i].letter < 256)
			(void)fprintf(out, "-%c ", options[i].letter);
		(void)fprintf(out, "--%s ", options[i].name);
	}
	(void)fputs("'\n", out);
}

void complete_bash(FILE *out)
{
	(void)fputs(head, out);
	print_nouns(out);
	print_places(out, "_sluice_places", false);
	print_places(out, "_sluice_keywords", true);
	print_values(out);
	print_options(out, "_sluice_all_options", false);
	print_options(out, "_sluice_valued", true);
	(void)fputs(walker, out);
}
