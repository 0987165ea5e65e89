ALTER TABLE clients DROP COLUMN labels;
