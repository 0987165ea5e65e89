DROP TRIGGER audit_in_order ON audit;
DROP FUNCTION audit_in_order();
ALTER TABLE audit DROP COLUMN hash, DROP COLUMN context, DROP COLUMN kind;
