/*
 * sql_tokens.h
 *		The tokens of a statement as PostgreSQL's scanner finds them: what hiding
 *		keys in SQL must not change.
 */
#ifndef LLM_ROUTER_SQL_TOKENS_H
#define LLM_ROUTER_SQL_TOKENS_H

#include "postgres.h"

#include "common/keywords.h"
#include "lib/stringinfo.h"
#include "parser/scanner.h"

/* Kind and place of each.  Throws what the scanner throws. */
static char *
sql_tokens(const char *text, bool backslash_quotes)
{
	core_yy_extra_type extra;
	core_YYSTYPE	   value;
	YYLTYPE			   place;
	StringInfoData	   tokens;
	core_yyscan_t	   scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	int				   kind;

	extra.escape_string_warning = false;
	extra.standard_conforming_strings = !backslash_quotes;
	initStringInfo(&tokens);
	while ((kind = core_yylex(&value, &place, scanner)) != 0)
		appendStringInfo(&tokens, "%d@%d ", kind, place);
	scanner_finish(scanner);
	return tokens.data;
}

#endif /* LLM_ROUTER_SQL_TOKENS_H */
