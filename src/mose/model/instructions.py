"""The instructions that precede a code or a query when the paper's model embeds it."""

CODE_PROMPT = "Represent this {language} code snippet for retrieval:"
QUERY_PROMPT = "Represent this code description for retrieving supporting snippets of code:"
