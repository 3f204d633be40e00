"""As much of Android, CameraX, LiteRT and JUnit as the app names, as Java declarations: the compiler checks the app
against them where no Android SDK is.

They are copied from the published signatures, nullability included: developer.android.com/reference (API 36);
androidx/androidx camera/camera-core/api/1.5.0-beta01.txt, camera/camera-view/api/restricted_1.6.0-beta01.txt,
activity/activity/api/1.11.0-beta01.txt; google-ai-edge/LiteRT litert/kotlin/src/copied_from_tflite. What is wrong here
is not found out by a test, so add a method only as its reference has it.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["write_android_api"]

DECLARATIONS = """
package android; public final class Manifest { public static final class permission {
    public static final String CAMERA = "android.permission.CAMERA"; } }

package android.os; public final class Bundle {}
package android.os; public final class SystemClock { public static native long elapsedRealtimeNanos(); }

package android.util; public final class Log { public static native int i(String tag, String message); }
package android.util; public interface AttributeSet {}

package android.content.res; public final class AssetManager implements AutoCloseable {
    public native @NonNull java.io.InputStream open(@NonNull String name) throws java.io.IOException;
    public native @NonNull AssetFileDescriptor openFd(@NonNull String name) throws java.io.IOException;
    public void close() {} }
package android.content.res; public class AssetFileDescriptor implements java.io.Closeable {
    public native java.io.FileDescriptor getFileDescriptor();
    public native long getStartOffset();
    public native long getDeclaredLength();
    public void close() throws java.io.IOException {} }

package android.content; public abstract class Context {
    public abstract android.content.res.AssetManager getAssets();
    public native @NonNull String getString(int resource); }

package android.graphics; public class Color {
    public static final int WHITE = 0xFFFFFFFF;
    public static native int argb(int alpha, int red, int green, int blue); }

package android.view; public class Gravity { public static final int BOTTOM = 0x50; }
package android.view; public class View {
    public View(android.content.Context context) {}
    public native void setBackgroundColor(int color);
    public native void setPadding(int left, int top, int right, int bottom);
    public native boolean getFitsSystemWindows();
    public native void setFitsSystemWindows(boolean fits); }
package android.view; public abstract class ViewGroup extends View {
    public ViewGroup(android.content.Context context) { super(context); }
    public native void addView(View child, LayoutParams parameters);
    public static class LayoutParams {
        public static final int MATCH_PARENT = -1;
        public static final int WRAP_CONTENT = -2; } }

package android.widget; public class TextView extends android.view.View {
    public TextView(android.content.Context context) { super(context); }
    public native CharSequence getText();
    public final native void setText(CharSequence text);
    public final native void setText(int resource);
    public native void setTextColor(int color); }
package android.widget; public class FrameLayout extends android.view.ViewGroup {
    public FrameLayout(@NonNull android.content.Context context) { super(context); }
    public static class LayoutParams extends android.view.ViewGroup.LayoutParams {
        public LayoutParams(int width, int height) {}
        public LayoutParams(int width, int height, int gravity) {} } }

package android.app; public class Activity extends android.content.Context {
    public native android.content.res.AssetManager getAssets();
    protected native void onCreate(@Nullable android.os.Bundle state);
    protected native void onDestroy();
    public native void setContentView(android.view.View view);
    public final native void runOnUiThread(Runnable action); }
package android.app; public class Instrumentation { public native android.content.Context getTargetContext(); }

package androidx.lifecycle; public interface LifecycleOwner {}

package androidx.activity.result; public interface ActivityResultCallback<O> { void onActivityResult(O result); }
package androidx.activity.result; public abstract class ActivityResultLauncher<I> {
    public native void launch(I input); }
package androidx.activity.result.contract; public abstract class ActivityResultContract<I, O> {}
package androidx.activity.result.contract; public final class ActivityResultContracts {
    public static final class RequestPermission extends ActivityResultContract<@NonNull String, @NonNull Boolean> {} }
package androidx.activity; public class ComponentActivity extends android.app.Activity
        implements androidx.lifecycle.LifecycleOwner {
    public final native <I, O> @NonNull androidx.activity.result.ActivityResultLauncher<I> registerForActivityResult(
        @NonNull androidx.activity.result.contract.ActivityResultContract<I, O> contract,
        @NonNull androidx.activity.result.ActivityResultCallback<O> callback); }

package androidx.camera.core; public interface ImageInfo { int getRotationDegrees(); }
package androidx.camera.core; public interface ImageProxy extends AutoCloseable {
    void close();
    int getHeight();
    int getWidth();
    @NonNull ImageInfo getImageInfo();
    @NonNull PlaneProxy[] getPlanes();
    interface PlaneProxy {
        @NonNull java.nio.ByteBuffer getBuffer();
        int getPixelStride();
        int getRowStride(); } }
package androidx.camera.core; public final class ImageAnalysis {
    public static final int OUTPUT_IMAGE_FORMAT_RGBA_8888 = 2;
    public static final int STRATEGY_KEEP_ONLY_LATEST = 0;
    public interface Analyzer {
        void analyze(@NonNull ImageProxy image);
        default int getTargetCoordinateSystem() { return 0; } } }
package androidx.camera.view; public abstract class CameraController {
    public static final int IMAGE_ANALYSIS = 2;
    public native void clearImageAnalysisAnalyzer();
    public native int getImageAnalysisBackpressureStrategy();
    public native int getImageAnalysisOutputImageFormat();
    public native void setEnabledUseCases(int cases);
    public native void setImageAnalysisAnalyzer(
        @NonNull java.util.concurrent.Executor executor,
        @NonNull androidx.camera.core.ImageAnalysis.Analyzer analyzer);
    public native void setImageAnalysisBackpressureStrategy(int strategy);
    public native void setImageAnalysisOutputImageFormat(int format); }
package androidx.camera.view; public final class LifecycleCameraController extends CameraController {
    public LifecycleCameraController(@NonNull android.content.Context context) {}
    public native void bindToLifecycle(@NonNull androidx.lifecycle.LifecycleOwner owner); }
package androidx.camera.view; public final class PreviewView extends android.widget.FrameLayout {
    public PreviewView(@NonNull android.content.Context context) { super(context); }
    public native @Nullable CameraController getController();
    public native void setController(@Nullable CameraController controller); }

package org.tensorflow.lite; public interface InterpreterApi extends AutoCloseable {
    void run(Object input, Object output);
    void close();
    class Options { public Options setNumThreads(int threads) { return this; } } }
package org.tensorflow.lite; class InterpreterImpl implements InterpreterApi {
    public native void run(Object input, Object output);
    public native void close();
    static class Options extends InterpreterApi.Options {} }
package org.tensorflow.lite; public final class Interpreter extends InterpreterImpl implements InterpreterApi {
    public Interpreter(@NonNull java.nio.ByteBuffer model, Options options) {}
    public static class Options extends InterpreterImpl.Options {
        @Override public Options setNumThreads(int threads) { return this; } } }

package androidx.test.platform.app; public final class InstrumentationRegistry {
    public static native android.app.Instrumentation getInstrumentation(); }
package org.junit.runner; public class Runner {}
package androidx.test.ext.junit.runners; public final class AndroidJUnit4 extends org.junit.runner.Runner {}
package org.junit.runner; public @interface RunWith { Class<? extends Runner> value(); }
package org.junit; public @interface Test {}
package org.junit; public class Assert {
    public static native void assertTrue(String message, boolean condition);
    public static native void assertEquals(Object expected, Object actual);
    public static native void assertEquals(long expected, long actual); }
"""


def write_android_api(folder: Path) -> None:
    """A Java file a class, where a compiler looks for it."""
    for declaration in re.split(r"^(?=package )", DECLARATIONS, flags=re.MULTILINE)[1:]:
        package, body = declaration.removeprefix("package ").split(";", 1)
        match = re.search(r"(?:class|@?interface) (\w+)", body)
        assert match is not None, declaration
        body = body.replace("@NonNull", "@androidx.annotation.NonNull")
        body = body.replace("@Nullable", "@androidx.annotation.Nullable")
        write_class(folder, package.strip(), match[1], body)
    use = "import java.lang.annotation.*; @Target({ElementType.TYPE_USE, ElementType.METHOD, ElementType.PARAMETER})"
    for name in ("NonNull", "Nullable"):
        write_class(folder, "androidx.annotation", name, f"{use} public @interface {name} {{}}")


def write_class(folder: Path, package: str, name: str, body: str) -> None:
    path = folder.joinpath(*package.split("."), f"{name}.java")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"package {package};\n{body}")
