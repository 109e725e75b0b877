module Foo
  # Doc
  class Bar < Baz
    LIMIT = 3
    attr_reader :x
    def initialize(x); @x = x; end
    def self.make; new(1); end
    class << self
      def other; end
    end
    def ==(o) = true
    private def secret; end
  end
end
class A::B; def q?; end; end
TOP = 1
def top; end
