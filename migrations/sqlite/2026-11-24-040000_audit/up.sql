-- Who changed what, when and from where. A line is written in the transaction of the change itself; no secret is in it.
CREATE TABLE audit (
    id      INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms   BIGINT  NOT NULL,
    who     TEXT    NOT NULL,        -- a client id, a user of the machine, or the server itself
    origin  TEXT    NOT NULL,        -- an address, or the command line
    action  TEXT    NOT NULL,        -- such as client.create
    subject TEXT    NOT NULL,        -- what it was done to
    detail  TEXT    NOT NULL         -- JSON
);
