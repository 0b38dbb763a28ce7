//! The service in-process: real models, real store, real HTTP over a port that the system chose.

mod encoder;
