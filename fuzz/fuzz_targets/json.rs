#![cfg_attr(fuzzing, no_main)]

mintage_fuzz::target!(json);
