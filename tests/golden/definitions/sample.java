package x;
/** Doc. */
@Anno
public class A<T> extends B implements C {
    public static final int MAX = 3;
    private int y;
    /** Makes. */
    public A(int y) { this.y = y; }
    @Override
    public String toString() { return ""; }
    interface I { void m(); int K = 2; }
    enum E { X, Y; int z() { return 1; } }
    record R(int a) { R { } }
    @interface An { String v(); }
}
