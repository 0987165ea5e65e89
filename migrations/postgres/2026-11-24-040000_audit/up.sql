-- The audit log. An event is written in the transaction of its change and contains no secret.
CREATE TABLE audit (
    id      BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms   BIGINT  NOT NULL,
    who     TEXT    NOT NULL,        -- actor: a client id, an operating system user, or the server
    origin  TEXT    NOT NULL,        -- source: a client IP, or the command line
    action  TEXT    NOT NULL,        -- such as client.create
    subject TEXT    NOT NULL,        -- the id of the object
    detail  TEXT    NOT NULL         -- JSON
);
