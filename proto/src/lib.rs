//! Wire types of package m2t.v1 and the conversions between them and m2t-common.
