-- Labels of a client for operators: a JSON object of texts, without spaces. NULL: none.
ALTER TABLE clients ADD COLUMN labels TEXT;
