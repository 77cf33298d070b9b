//! Every way a call can fail, each with the code that the host sees. The documentation and the hosts' messages are made
//! from this table, so each entry is one line: `    Name = -code, "what is wrong, told to the user";`.

macro_rules! statuses {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        /// Why a call failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        pub enum Status {
            $(#[doc = $text] $name = $code,)*
        }

        impl Status {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Status] = &[$(Status::$name,)*];

            /// What the entry point returns: a negative number.
            pub fn code(self) -> i32 {
                self as i32
            }

            /// What is wrong, in words.
            pub fn text(self) -> &'static str {
                match self {
                    $(Status::$name => $text,)*
                }
            }
        }
    };
}

#[rustfmt::skip]
statuses! {
    OddArguments = -1, "the arguments are not pairs of a key and a value";
    UnknownArgument = -2, "an argument is given that the model does not have";
    RepeatedArgument = -3, "an argument is given twice";
    MissingArgument = -4, "the argument that names an input's file is missing";
    InputNotOpened = -5, "an input's file cannot be opened";
    ReadFailed = -6, "an input's file cannot be read";
    InputTooShort = -7, "an input's file ends before its tensor is complete";
    InputTooLong = -8, "an input's file goes on after its tensor is complete";
    BrokenNpy = -9, "an input's file is not NumPy's npy format";
    NpyDtype = -10, "an npy file holds another dtype than the input has";
    NpyOrder = -11, "an npy file is in Fortran order: save it with numpy.ascontiguousarray";
    NpyShape = -12, "an npy file holds another shape than the input has";
    UnknownImage = -13, "an image is neither JPEG nor PNG";
    BrokenImage = -14, "an image is damaged, or of a kind of JPEG or PNG that is not supported";
    ImageTooLarge = -15, "an image has more pixels than the model accepts";
    OutOfMemory = -16, "there is not enough memory";
    ModelFailed = -17, "the model failed while it ran";
    OutputNotCreated = -18, "an output's file cannot be created";
    WriteFailed = -19, "an output's file cannot be written";
    NoLargest = -20, "the output has no largest element: none of its elements is a number";
    BrokenDescriptor = -21, "the module is damaged: its description of the model cannot be read";
    BrokenGraph = -22, "the module is damaged: its graph cannot be run";
    UnknownInput = -23, "the model has no such input, or it is not an image";
    BadAddress = -24, "an address is not that of memory which was allocated for this";
    MissingParams = -25, "the file of the weights is not given: the module does not hold them";
    WrongParams = -26, "the file of the weights is not the one that the module was built with";
}
