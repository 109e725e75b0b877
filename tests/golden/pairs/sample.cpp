namespace draw {

/// A canvas that remembers every stroke for undo.
class StrokeCanvas : public Canvas {
public:
    /// Takes back the last stroke and repaints what was below it.
    void undoStroke();

private:
    std::vector<Stroke> strokes_;
};

void StrokeCanvas::undoStroke() {
    Stroke last = strokes_.back();
    strokes_.pop_back();
    repaint(last.bounds());
}

}  // namespace draw
