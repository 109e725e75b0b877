const std = @import("std");
/// Doc
pub const Foo = struct {
    a: i32,
    pub fn init() Foo { return .{ .a = 1 }; }
};
const E = enum { a, b };
const U = union(enum) { a: i32 };
pub fn main() !void {}
const MAX: usize = 3;
test "adds" { }
fn gen(comptime T: type) type { return struct { fn in() void {} }; }
